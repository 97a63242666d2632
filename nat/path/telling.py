"""What the owner of a path agent is told: the path that its data takes, and what is known of it."""

from ..machine import Endpoint
from .checklist import Checklist
from .events import (
    Activity,
    EvidenceWanted,
    Path,
    PathLost,
    PathMtuChanged,
    PathReasserted,
    PathSelected,
    PeerId,
    PeerReport,
)
from .selection import Selection

PathEvent = PathSelected | PathLost | PathReasserted | PathMtuChanged | EvidenceWanted


class Teller:
    """Makes the events of one peer; part of a `PathAgent`.

    Args:
        peer: the owner's name for the peer.
        checklist: the peer's pairs.
        selection: which of them carries the data.
    """

    def __init__(self, peer: PeerId, *, checklist: Checklist, selection: Selection) -> None:
        self._peer = peer
        self._checklist = checklist
        self._selection = selection
        self._path: Path | None = None
        self._had_path = False
        self._suspicious = False
        self._events: list[PathEvent] = []

    @property
    def path(self) -> Path | None:
        """The path that was last said to be selected, unless it was said to be lost."""
        return self._path

    @property
    def had_path(self) -> bool:
        """Whether any path was ever selected."""
        return self._had_path

    def publish(self) -> None:
        """Tell of the selected pair, if it is another than was told of last."""
        pair, previous = self._selection.selected, self._path
        if pair is not None and pair.data is not None:
            local = self._checklist.mapped_candidate(pair)
            self._path = Path(local, pair.key.base, pair.remote, pair.data)
            if self._path != previous:
                self._had_path = True
                if pair.mtu is not None:
                    pair.mtu.restart()
                self._events.append(PathSelected(self._peer, self._path, previous))
        elif previous is not None:
            self._path = None
            self._events.append(PathLost(self._peer, previous, self._selection.loss))

    def reassert(self, disputed: Endpoint) -> None:
        """Have the data plane set to the path once more."""
        if self._path is not None:
            self._events.append(PathReasserted(self._peer, self._path, disputed))

    def want_evidence(self) -> None:
        """Have the data plane looked at."""
        self._events.append(EvidenceWanted(self._peer))

    def suspect(self) -> None:
        """Say that our own network looks like another one.

        The selected pair does not answer, or an answer shows that our NAT maps it to elsewhere than
        before: a router that got another address tells nobody.
        """
        self._suspicious = True

    def take_suspicion(self) -> bool:
        """Return whether that was said since the last call."""
        suspicious, self._suspicious = self._suspicious, False
        return suspicious

    def limit(self, size: int | None) -> None:
        """Tell how large a payload the path carries."""
        self._events.append(PathMtuChanged(self._peer, size))

    def next_event(self) -> PathEvent | None:
        """Take the oldest event that the owner has not seen; `None`: no more."""
        return self._events.pop(0) if self._events else None

    def report(self, now: float) -> PeerReport:
        """Describe the peer's paths for a person, best pairs first."""
        pairs = sorted(
            self._checklist,
            key=lambda pair: (not pair.selected, not pair.valid, -pair.priority),
        )
        selected = self._selection.selected
        return PeerReport(
            activity=self._activity(),
            path=self._path,
            rtt=None if selected is None else selected.rtt,
            pairs=tuple(
                pair.report(now, self._checklist.mapped_candidate(pair).type) for pair in pairs
            ),
        )

    def _activity(self) -> Activity:
        selected = self._selection.selected
        if not self._checklist.complete:
            return Activity.WAITING
        if selected is None:
            return Activity.LOST if self._had_path else Activity.CHECKING
        if self._selection.silent:
            return Activity.SILENT
        return Activity.CONNECTED if selected.valid else Activity.LOST
