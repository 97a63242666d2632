"""Whom to ask for a check, and whose request to heed (design S5). A machine without I/O.

Bounded, because a team may be large and most of it asleep: a peer is asked at most `TRIES` times
until it announces itself anew, ever more rarely; all that are due share a line; and a host posts at
most one line in `LINE_INTERVAL`. So a host posts at most 120 lines an hour, and in the long run
`TRIES` lines or fewer for each announcement of a peer that it cannot reach.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nat.candidate import Candidate

from ..errors import AnnouncementError
from ..identity import NodeId
from ..keybase.models import ChatMessage
from ..negotiation import MAX_RECIPIENTS, CheckRequest, decode

FIRST_ASK: Final = 5.0
"""Seconds without a path until a peer is asked: most paths need one."""

ASK_AGAIN: Final = 60.0
"""Seconds until it is asked once more; doubles."""

TRIES: Final = 4
"""Requests to a peer until it announces itself anew: it is asleep, or nothing helps."""

LINE_INTERVAL: Final = 30.0
"""Seconds between two lines of ours."""

HEED_INTERVAL: Final = 10.0
"""Seconds between two requests of one device that are heeded."""

MAX_AGE: Final = 120.0
"""Seconds after which a request is not heeded: its sender does not wait for us any more."""


@dataclass(slots=True)
class _Seeking:
    """A peer without a path.

    Attributes:
        announced_id: of its announcement when we began.
        next: when it is asked.
    """

    announced_id: int
    next: float
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Sought:
    """A peer that we have no path to."""

    node: NodeId
    announced_id: int


class Negotiator:
    """One host's part of the conversation.

    Args:
        own: this device.
    """

    def __init__(self, own: NodeId) -> None:
        self._own = own
        self._seeking: dict[NodeId, _Seeking] = {}
        self._heeded: dict[NodeId, float] = {}
        self._next_line = 0.0
        self.counters: Counter[str] = Counter()
        """Requests sent, heeded, and not heeded by reason (`sidecar/LOGGING.md`)."""

    def observe(self, sought: Iterable[Sought], now: float) -> None:
        """Take in which peers have no path at present."""
        current = {peer.node: peer.announced_id for peer in sought}
        for node in [node for node in self._seeking if node not in current]:
            del self._seeking[node]
        for node, announced_id in current.items():
            known = self._seeking.get(node)
            if known is None or known.announced_id != announced_id:
                self._seeking[node] = _Seeking(announced_id, now + FIRST_ASK)

    def request(self, relays: Sequence[Candidate], now: float) -> CheckRequest | None:
        """Return what is to be posted now; `relays`: our relayed candidates."""
        if now < self._next_line:
            return None
        due = [n for n, s in self._seeking.items() if s.tries < TRIES and s.next <= now]
        if not due:
            return None
        asked = sorted(due, key=lambda node: self._seeking[node].next)[:MAX_RECIPIENTS]
        for node in asked:
            state = self._seeking[node]
            state.next = now + ASK_AGAIN * 2**state.tries
            state.tries += 1
        self._next_line = now + LINE_INTERVAL
        self.counters["asked"] += len(asked)
        return CheckRequest(tuple(node.key for node in asked), tuple(relays))

    def heed(self, message: ChatMessage, *, age: float, now: float) -> CheckRequest | None:
        """Read a message; `None`: it asks nothing of us, or is not to be heeded.

        Our own come back to us, too: whom we have asked, we check when they hear it.

        Args:
            message: as Keybase attests it.
            age: seconds since it was posted.
            now: current time in seconds.
        """
        sender = message.sender
        if message.text is None or sender is None or message.revoked_device:
            return None
        try:
            request = decode(message.text)
        except AnnouncementError:
            self.counters["not-a-request"] += 1
            return None
        if sender != self._own and self._own.key not in request.recipients:
            return None
        if age > MAX_AGE:
            self.counters["too-old"] += 1
            return None
        if now - self._heeded.get(sender, -HEED_INTERVAL) < HEED_INTERVAL:
            self.counters["too-many"] += 1
            return None
        self._forget_heeded(now)
        self._heeded[sender] = now
        self.counters["heeded"] += 1
        return request

    def _forget_heeded(self, now: float) -> None:
        self._heeded = {n: at for n, at in self._heeded.items() if now - at < HEED_INTERVAL}
