"""What the paths say, carried to where it belongs: the peer, the directory, and the owner."""

from collections.abc import Callable
from typing import assert_never

from nat.path.events import (
    CandidatesChanged,
    EvidenceWanted,
    PathLost,
    PathMtuChanged,
    PathReasserted,
    PathSelected,
    StunServerChanged,
    TraversalEvent,
)
from nat.turn.events import (
    ConnectionReleased,
    ConnectionRequested,
    ReconnectRequested,
    RelayChannelBound,
    RelayChannelLost,
    TurnServerChanged,
)

from ..directory.directory import Directory
from .events import DeviceChanged, LookWanted, MeshEvent, RelayLeft, RelayTaken
from .peers import Peers
from .trials import Trials


class PathNews:
    """Handles what the traversal says; part of a `Mesh`.

    Args:
        peers: told of their paths.
        directory: told whose key a passed check has proved.
        trials: ended by that.
        tell: takes what is the owner's to do.
        candidates_changed: composes what we should announce anew.
    """

    def __init__(
        self,
        *,
        peers: Peers,
        directory: Directory,
        trials: Trials,
        tell: Callable[[MeshEvent], None],
        candidates_changed: Callable[[float], None],
    ) -> None:
        self._peers = peers
        self._directory = directory
        self._trials = trials
        self._tell = tell
        self._candidates_changed = candidates_changed

    def handle(self, event: TraversalEvent, now: float) -> None:
        """Handle one event."""
        match event:
            case PathSelected() | PathLost() | PathReasserted():
                peer = self._peers.handle_event(event, now)
                if peer is not None and isinstance(event, PathSelected):
                    self._directory.confirm_key(peer.node, peer.public_key)
                    self._trials.end(peer.public_key)
                    self._note_relays(event)
                    if not peer.rules.live:
                        self._tell(LookWanted())
            case PathMtuChanged():
                before = self._peers.routes
                self._peers.handle_event(event, now)
                if self._peers.routes != before:
                    self._tell(DeviceChanged())
            case CandidatesChanged():
                self._candidates_changed(now)
            case EvidenceWanted(peer=peer_id):
                self._peers.doubt(peer_id)
                self._tell(LookWanted())
            case (
                StunServerChanged()
                | ConnectionRequested()
                | ConnectionReleased()
                | ReconnectRequested()
                | TurnServerChanged()
                | RelayChannelBound()
                | RelayChannelLost()
            ):
                self._tell(event)
            case _:
                assert_never(event)

    def _note_relays(self, event: PathSelected) -> None:
        before, after = event.previous, event.path
        moved = before is not None and before.data_endpoint != after.data_endpoint
        if before is not None and before.plugged and moved:
            self._tell(RelayLeft(event.peer, before.data_endpoint))
        if after.plugged:
            self._tell(RelayTaken(after.data_endpoint))
