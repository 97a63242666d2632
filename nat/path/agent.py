"""The path machine of one peer: an ICE agent (RFC 8445) that never finishes.

What happens, in order: candidates of both sides make pairs (`checklist`); pairs are checked
(`checks`) as often as `schedule` says; one of those that answer is selected (`selection`); the
data plane's counters confirm or veto it (`evidence`, `roaming`). `nat/README.md` tells the life of
a pair and what differs from the RFC.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

from ..candidate import Candidate, is_reachable_address
from ..errors import StunError
from ..machine import Datagram, Endpoint, IPAddress
from ..stun.message import StunMessage, TransactionId, parse
from ..turn.relay import RelayWishes
from .checklist import Checklist
from .checks import Checks, Ignored
from .credentials import IceCredentials, Role
from .events import DataReport, Path, PeerId, PeerReport
from .evidence import DataEvidence
from .openers import Openers, not_measured
from .pair import LOST_AFTER_CHECKS, SUSPICIOUS, Pair, PairKey
from .receiving import Receiver
from .relaying import Relaying
from .roaming import Adopt, Reassert, Roaming
from .schedule import Timetable
from .selection import Selection
from .sending import Outgoing, Sender
from .telling import PathEvent, Teller
from .width import Width

LOOKS: Final = (SUSPICIOUS, LOST_AFTER_CHECKS)
"""Unanswered checks at which the data plane is looked at: what came in between proves the pair."""


def alone(_: PairKey) -> bool:
    """Answer for a peer that shares its address with nobody."""
    return True


class PathAgent:
    """Finds and keeps the best path to one peer; a `Machine`.

    Args:
        peer: the owner's name for the peer.
        credentials: of this pair of agents (RFC 8445 §5.3).
        role: who nominates; it never changes.
        rng: source of transaction ids and jitter; cryptographic in production (RFC 8489 §5).
        now: current time in seconds.
        may_check: which addresses may be the target of checks.
        is_steady: whether the mapping of a base is known to be the same for every destination.
        agrees: whether a pair leaves by the uplink that other peers at its address use.
        data_size: UDP payload in bytes of the largest packet that the data plane makes; with it
            the width of the selected pair is measured.
    """

    def __init__(
        self,
        *,
        peer: PeerId,
        credentials: IceCredentials,
        role: Role,
        rng: Random,
        now: float,
        may_check: Callable[[IPAddress], bool] = is_reachable_address,
        is_steady: Callable[[Endpoint], bool] = not_measured,
        agrees: Callable[[PairKey], bool] = alone,
        data_size: int | None = None,
    ) -> None:
        self._role = role
        self._checklist = Checklist(role=role, may_check=may_check)
        self._checks = Checks(credentials=credentials, role=role, rng=rng)
        self._evidence = DataEvidence()
        self._selection = Selection(
            role=role, checklist=self._checklist, evidence=self._evidence, agrees=agrees
        )
        self._roaming = Roaming(checklist=self._checklist, evidence=self._evidence)
        self._width = Width(data_size)
        self._busy = False
        self._relaying = Relaying(checklist=self._checklist)
        self._active_peers = 1
        self._openers = Openers(is_steady)
        self._timetable = Timetable(drives=role is Role.CONTROLLING, now=now)
        self._sender = Sender(
            checks=self._checks, selection=self._selection, openers=self._openers, rng=rng
        )
        self._teller = Teller(peer, checklist=self._checklist, selection=self._selection)
        self._receiver = Receiver(
            role=role,
            checklist=self._checklist,
            checks=self._checks,
            selection=self._selection,
            relaying=self._relaying,
            timetable=self._timetable,
            sender=self._sender,
            teller=self._teller,
            step=self._step,
        )

    @property
    def path(self) -> Path | None:
        """The path that was last said to be selected, unless it was said to be lost."""
        return self._teller.path

    @property
    def ignored(self) -> Counter[str]:
        """Datagrams that changed nothing, by reason."""
        return self._receiver.ignored

    def set_local_candidates(self, candidates: Sequence[Candidate], now: float) -> None:
        """Take our own candidates; a change has every pair checked at once."""
        if self._checklist.set_local(candidates, now):
            self.network_changed(now)

    def set_remote_candidates(self, candidates: Sequence[Candidate], now: float) -> None:
        """Take what the peer has announced; even the same again has every pair checked at once."""
        self._checklist.set_remote(candidates, now)
        self.network_changed(now)

    def hold(self, until: float, now: float) -> None:
        """Open our NAT for the peer, but do not let it hear of us before it can know us."""
        self._openers.hold(until, now)
        self._step(now)

    def network_changed(self, now: float) -> None:
        """Check every pair at once: a link, a route or a NAT may be another."""
        self._checklist.forget_learning()
        for pair in self._checklist:
            pair.hunt(now)
            if pair.mtu is not None:
                pair.mtu.restart()
        self._step(now)

    def plug(self, key: PairKey, loopback: Endpoint, now: float) -> None:
        """Note the endpoint by which the data plane reaches the channel of a relayed pair."""
        self._relaying.plug(key, loopback)
        self._step(now)

    def unplug(self, key: PairKey, now: float) -> None:
        """Note that the channel of a relayed pair is gone."""
        if self._relaying.plugged(key):
            self._relaying.unplug(key, now)
            self._step(now)

    def wishes(self, now: float) -> RelayWishes:
        """Return which permissions and channels the pairs of this peer need."""
        return self._relaying.wishes(self._selection.follower.key, now)

    def report_data(self, report: DataReport, now: float) -> None:
        """Take in what the data plane has seen of the peer."""
        selected = self._selection.selected
        self._evidence.report(report, now)
        if selected is not None and self._evidence.stalls(selected.data):
            selected.ask(now)
        self._selection.confirm(now)
        self._roaming.observe(selected, now)
        self._step(now)

    def take_suspicion(self) -> bool:
        """Return whether our own network has looked like another one since the last call."""
        return self._teller.take_suspicion()

    def awaits(self, transaction_id: TransactionId) -> bool:
        """Whether a response with this transaction id is for this machine."""
        return self._checks.awaits(transaction_id)

    def active(self, now: float) -> bool:
        """Whether there was traffic with the peer in the last minute."""
        return self._evidence.active(now)

    def share_with(self, active_peers: int) -> None:
        """Take in how many peers of the port are active: together they have one pace."""
        self._active_peers = active_peers

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Handle one datagram. What is not authentic changes nothing and is not answered."""
        try:
            message = parse(datagram.payload)
        except StunError:
            self.ignored[Ignored.NOT_A_CHECK.value] += 1
            return
        self.receive_message(message, datagram, now)

    def receive_message(self, message: StunMessage, datagram: Datagram, now: float) -> bool:
        """Handle a datagram that is decoded already.

        Returns:
            Whether it proves that the peer is where it came from: only an answer does, since the
            source of a check can be forged by the peer itself.
        """
        return self._receiver.receive(message, datagram, now)

    def receive_early(self, message: StunMessage, datagram: Datagram, now: float) -> None:
        """Learn from a check that came in before this machine was there; it is not answered."""
        self._receiver.receive_early(message, datagram, now)

    def not_sent(self, transaction_id: TransactionId, reason: str, now: float) -> None:
        """Note that our own host would not send a check.

        Args:
            transaction_id: of the check.
            reason: why, in the words of the host.
            now: current time in seconds.
        """
        unsent = self._checks.unsent(transaction_id)
        pair = None if unsent is None else self._checklist.get(unsent.key)
        if unsent is None or pair is None:
            return
        if unsent.probe is None:
            pair.send_error = reason
        elif pair.mtu is not None:
            pair.mtu.refused(unsent.probe, now)
        self._step(now)

    def handle_timeout(self, now: float) -> None:
        """Do whatever is due at `now`. Calling early or twice is harmless."""
        self._step(now)

    def next_timeout(self) -> float | None:
        """When to call `handle_timeout` next; `None`: nothing is pending."""
        soonest = min(
            self._timetable.next_timeout(self._checklist),
            self._selection.next_timeout(),
            self._roaming.next_timeout(),
            self._openers.next_timeout(),
            self._width.next_timeout(self._selection.selected, active=self._busy),
        )
        return None if soonest == math.inf else soonest

    def datagrams_to_send(self) -> list[Datagram]:
        """Take the datagrams queued since the last call."""
        return [outgoing.datagram for outgoing in self.outgoing()]

    def outgoing(self) -> list[Outgoing]:
        """Take the datagrams queued since the last call, with their urgency."""
        return self._sender.take()

    def next_event(self) -> PathEvent | None:
        """Take the oldest event that the owner has not seen; `None`: no more."""
        return self._teller.next_event()

    def report(self, now: float) -> PeerReport:
        """Describe the peer's paths for a person, best pairs first."""
        return self._teller.report(now)

    def _step(self, now: float) -> None:
        """Draw every conclusion from what is known, and send what is due."""
        self._checklist.forget_stale(now)
        self._relaying.step()
        self._selection.step(now)
        self._settle_roaming(now)
        self._teller.publish()
        self._busy = self._evidence.active(now)
        self._timetable.listen(
            connected=self._selection.selected is not None,
            active=self._busy,
            silent=self._selection.silent,
            active_peers=self._active_peers,
        )
        self._measure(now)
        if self._openers.release(now):
            for pair in self._checklist:
                if self._openers.spares(pair):
                    pair.hunt(now)
        self._receiver.answer_held(now)
        for pair in self._timetable.take_due(self._checklist, now):
            self._check(pair, now)

    def _settle_roaming(self, now: float) -> None:
        selected = self._selection.selected
        drives = self._role is Role.CONTROLLING
        match self._roaming.step(selected, drives=drives, now=now):
            case Adopt(pair, insisted):
                if insisted and selected is not None:
                    selected.veto(now)
                self._selection.move(pair, now)
            case Reassert(disputed):
                self._teller.reassert(disputed)
            case None:
                pass

    def _check(self, pair: Pair, now: float) -> None:
        self._sender.check(
            pair,
            now,
            connected=self._teller.path is not None,
            was_connected=self._teller.had_path,
        )
        if pair.selected and not self._selection.silent:
            self._doubt(pair, now)

    def _doubt(self, pair: Pair, now: float) -> None:
        """Look for what could take the place of a selected pair, or speaks for it."""
        if pair.unanswered in LOOKS and self._evidence.endpoint is not None:
            self._teller.want_evidence()
        if pair.unanswered == SUSPICIOUS:
            self._teller.suspect()
            for other in self._checklist:
                if other.valid and other is not pair:
                    other.ask(now)

    def _measure(self, now: float) -> None:
        """Probe the width of the selected pair, and tell what is known of it."""
        selected = self._selection.selected
        size = self._width.take_probe(selected, active=self._busy, now=now)
        if selected is not None and size is not None:
            self._sender.probe(selected, size, now)
        if self._width.moved(selected):
            self._teller.limit(self._width.limit)
