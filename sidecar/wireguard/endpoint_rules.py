"""When to tell WireGuard where a peer is (design D6): one small machine per peer.

The rules, each seen on the real kernel:

* No endpoint before a pair is valid. A guess corrected 0.3 s later costs the 5 s of the rekey
  timer.
* No session yet: the controlling side sets endpoint and keepalive, which opens; the other side
  learns by roaming and sets it itself only after max(1 s, 3 RTT). Both at once stall for 5 s in
  3 runs of 10.
* No answer to what opened: the line lost it, and WireGuard would wait 5 s (`first_handshake`).
* A live session: both sides set the endpoint at once and the controlling side pokes (keepalive
  off and on again), because a changed endpoint alone sends nothing.
* Keepalive on both sides after the first handshake, so that either clock may be wrong.
* A peer that has a session is never removed, and an endpoint is never taken away. If one is
  gone, the interface was made anew (wireguard-go had died, or somebody removed it): whoever sees
  that opens at once, for the other end still has its session and waits for nothing.
* A hand-over: what comes late by the old path makes the kernel follow it back. It is delivered all
  the same, and the endpoint set again at once, for a second from when it has been set. Twice as
  slow, and each side would keep the other at the old path; not delivered, and a round trip's data
  would be lost. But not if the new path is in doubt: then the peer may have had to go back. Only
  back to a relay nobody has to go so soon.
"""

from dataclasses import dataclass
from typing import Final

from nat.machine import Endpoint
from nat.path.credentials import Role

from ..identity import PublicKey
from .changes import EndpointChange, OpenPeer, UpdatePeer
from .device import PeerState
from .first_handshake import FirstHandshake, Help

KEEPALIVE: Final = 25
"""Seconds; under the 30 s after which many NATs forget an idle UDP mapping (wg(8))."""

SESSION_LIFETIME: Final = 180.0
"""Seconds after which WireGuard refuses to use a session (REJECT_AFTER_TIME)."""

HAND_OVER: Final = 1.0
"""Seconds after the endpoint has been seen to be another one in which the kernel is not followed:
longer than data may be under way on the old path, and than the other side takes to move, too."""

HAND_OVER_MOST: Final = 5.0
"""Seconds after which that ends in any case: a busy host may take one or two to set an endpoint."""

FOLLOW_DELAY: Final = 1.0
"""Least seconds that the controlled side waits for the other's handshake before it opens too."""

FOLLOW_RTTS: Final = 3.0
"""Round trips that it waits at least: init, response and the first data packet."""


@dataclass(frozen=True, slots=True)
class _Following:
    """The controlled side, waiting for the controlling one to open."""

    until: float


class EndpointRules:
    """Endpoint and keepalive of one peer; what to change comes out of `changes()`.

    Args:
        peer: the peer's key.
        role: who opens; `None` for a legacy peer, which answers no checks and is opened at once.
    """

    def __init__(self, peer: PublicKey, role: Role | None) -> None:
        self._peer = peer
        self._role = role
        self._wanted: Endpoint | None = None
        self._actual: Endpoint | None = None
        self._bare = False
        self._keepalive = 0
        self._live = False
        self._following: _Following | None = None
        self._first = FirstHandshake()
        self._rtt: float | None = None
        self._hand_over_until: float | None = None
        self._handed_over = False
        self._upgrade = False
        self._changes: list[EndpointChange] = []

    @property
    def wanted(self) -> Endpoint | None:
        """The endpoint that was last selected; stays when a path is lost."""
        return self._wanted

    @property
    def handing_over(self) -> bool:
        """Whether the kernel may fall back to the path that data has just left."""
        return self._hand_over_until is not None

    @property
    def live(self) -> bool:
        """Whether WireGuard has a session that it may still use."""
        return self._live

    def observe(self, state: PeerState | None, handshake_age: float | None, now: float) -> None:
        """Take in what the back end reports; `None`: the peer is not (or no longer) there."""
        if state is None:
            self._actual, self._keepalive, self._live = None, 0, False
            self._bare = False
            self._first.end()
            return
        # Whoever is new there, or has lost its endpoint: what was set before it came went nowhere.
        lost = not self._bare and state.endpoint is None
        self._bare = state.endpoint is None
        self._actual = state.endpoint
        if self.handing_over and not self._handed_over and self._actual == self._wanted:
            self._handed_over = True
            self._hand_over_until = now + HAND_OVER
        self._keepalive = state.persistent_keepalive
        self._live = handshake_age is not None and handshake_age < SESSION_LIFETIME
        self._first.observe(state, live=self._live, now=now)
        if lost and self._wanted is not None:
            self._following = None
            self._open(self._wanted, now)
        if self._live:
            self._following = None
            if self._keepalive != KEEPALIVE:
                self._update(keepalive=KEEPALIVE)
            if self.handing_over and self._actual != self._wanted:
                self._update(self._wanted)

    def select(
        self,
        endpoint: Endpoint,
        rtt: float | None,
        now: float,
        *,
        anew: bool = False,
        upgrade: bool = False,
    ) -> None:
        """Use `endpoint`, the remote end of a pair that has just become the selected one.

        Args:
            endpoint: where the peer is to be sent to.
            rtt: round-trip time of the pair in seconds, if measured.
            now: current time in seconds.
            anew: set it even if WireGuard sends there already: it remembers the local address
                that it was last reached at, and forgets that only with a new endpoint.
            upgrade: whether data leaves a relay for good.
        """
        self._upgrade = upgrade
        if self._wanted is not None and self._wanted != endpoint:
            self._hand_over(now)
        self._wanted, self._rtt = endpoint, rtt
        if self._live:
            if anew or endpoint != self._actual:
                self._move(endpoint, now)
        elif self._role is Role.CONTROLLED:
            wait = max(FOLLOW_DELAY, FOLLOW_RTTS * (rtt or 0.0))
            self._following = _Following(now + wait)
        else:
            self._open(endpoint, now)

    def reassert(self, now: float) -> None:
        """Send to the selected endpoint again, whatever the kernel has roamed to."""
        if self._wanted is not None and self._wanted != self._actual:
            self._hand_over(now)
            self._move(self._wanted, now)

    def note_late(self) -> None:
        """Set the endpoint again: data of the old path has just been delivered."""
        if self.handing_over and self._live:
            self._update(self._wanted)

    def doubt(self) -> None:
        """Follow the kernel again: the new path may not work, so the peer may have left it."""
        if not self._upgrade:
            self._hand_over_until = None

    def handle_timeout(self, now: float) -> None:
        """Open from the controlled side if the other has not, or again; end a hand-over."""
        if self._hand_over_until is not None and now >= self._hand_over_until:
            self._hand_over_until = None
        if self._following is not None and now >= self._following.until:
            self._following = None
            if self._wanted is not None and not self._live:
                self._open(self._wanted, now)
        if self._wanted is not None:
            match self._first.take_due(now):
                case Help.OPEN_AGAIN:
                    self._changes.append(OpenPeer(self._peer, self._wanted, KEEPALIVE, again=True))
                    self._actual, self._keepalive = self._wanted, KEEPALIVE
                case Help.POKE:
                    self._update(keepalive=0)
                    self._update(keepalive=KEEPALIVE)
                case None:
                    pass

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout` next."""
        following = None if self._following is None else self._following.until
        times = (following, self._hand_over_until, self._first.next_timeout())
        return min((time for time in times if time is not None), default=None)

    def changes(self) -> tuple[EndpointChange, ...]:
        """Take the changes that are due, in order."""
        changes, self._changes = tuple(self._changes), []
        return changes

    def _hand_over(self, now: float) -> None:
        self._hand_over_until = now + HAND_OVER_MOST
        self._handed_over = False

    def _open(self, endpoint: Endpoint, now: float) -> None:
        if self._role is Role.CONTROLLING and not self._live:
            self._first.begin(self._rtt, now)
        if self._actual is None and self._role is Role.CONTROLLING:
            # Nobody else opens before FOLLOW_DELAY is over: there is no session to lose.
            self._changes.append(OpenPeer(self._peer, endpoint, KEEPALIVE))
            self._actual, self._keepalive = endpoint, KEEPALIVE
            return
        if self._keepalive:
            # Only a keepalive that goes from off to on sends a packet at once.
            self._update(keepalive=0)
        self._update(endpoint, KEEPALIVE)

    def _move(self, endpoint: Endpoint, now: float) -> None:
        if self._role is Role.CONTROLLED:
            self._update(endpoint)
        else:
            self._open(endpoint, now)

    def _update(self, endpoint: Endpoint | None = None, keepalive: int | None = None) -> None:
        self._changes.append(UpdatePeer(self._peer, endpoint, keepalive))
        if endpoint is not None:
            self._actual = endpoint
        if keepalive is not None:
            self._keepalive = keepalive
