"""Port prediction with every peer, as one machine beside the path machines.

Its owner tells it what it knows of both ends and their paths. It holds one campaign at a time, for
a peer without a direct path whose NAT and ours are the two kinds that need one.
"""

import math
import zlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from ..candidate import Candidate, is_reachable_address
from ..machine import Datagram, IPAddress
from ..path.credentials import IceCredentials, Role
from ..path.events import Path, PeerId, PeerReport
from .budget import Budget
from .campaign import Campaign, make_campaign, settle
from .easy import EasyCampaign
from .events import (
    Outcome,
    PortsDone,
    PortsWanted,
    PortWon,
    PredictionEvent,
    PredictionReport,
    SpliceReleased,
)
from .hard import LEAD, SOCKETS, HardCampaign
from .plan import EasyPlan, End, HardPlan, Plan, plan_for
from .schedule import LATEST, PERIOD, Schedule
from .splice import Splice, Splices

CLOCK_STEP: Final = 1.0
"""Seconds by which the wall clock must jump for moments to be reckoned anew."""


@dataclass(slots=True)
class _Peer:
    credentials: IceCredentials
    role: Role
    schedule: Schedule
    end: End = field(default_factory=End)
    plan: Plan | None = None
    direct: bool = False
    tries: int = 0
    tried_at: float | None = None
    outcome: Outcome | None = None


@dataclass(slots=True)
class _Running:
    peer: PeerId
    campaign: Campaign


class Predictor:
    """All peers; a `Machine`, whose datagrams leave from the shared port or from opened ones.

    Args:
        rng: picks ports and transaction ids; cryptographic in production (RFC 8489 §5).
        enabled: whether to do anything at all.
        may_send: which addresses may be sent to.
    """

    def __init__(
        self,
        *,
        rng: Random,
        enabled: bool = True,
        may_send: Callable[[IPAddress], bool] = is_reachable_address,
    ) -> None:
        self.counters: Counter[str] = Counter()
        """Campaigns, datagrams and what was ignored, by name."""
        self._rng = rng
        self._enabled = enabled
        self._may_send = may_send
        self._able = False
        self._own = End()
        self._wall_offset: float | None = None
        self._peers: dict[PeerId, _Peer] = {}
        self._moments: dict[PeerId, float] = {}
        self._running: _Running | None = None
        self._splices = Splices()
        self._budget = Budget()
        self._outbox: list[Datagram] = []
        self._events: deque[PredictionEvent] = deque()

    # What the owner says ----------------------------------------------------------------------

    def set_able(self, able: bool, now: float) -> None:
        """Say whether ports can be opened and spliced here; if not, we only play the easy side."""
        self._able = able
        self._plan_all(now)

    def set_wall_offset(self, offset: float, now: float) -> None:
        """Take the seconds from `now` to the wall clock, which the peers share."""
        known, self._wall_offset = self._wall_offset, offset
        if known is None or abs(offset - known) > CLOCK_STEP:
            for peer in self._peers:
                self._reckon(peer, now)

    def set_local(self, candidates: Sequence[Candidate], *, varies: bool, now: float) -> None:
        """Take our own candidates, and whether our NAT's mapping depends on the destination."""
        self._own = End(tuple(candidates), varies)
        self._plan_all(now)

    def add_peer(self, peer: PeerId, *, credentials: IceCredentials, role: Role) -> None:
        """Take a peer whose path machine has begun."""
        ends = "".join(sorted((credentials.local_ufrag, credentials.remote_ufrag)))
        phase = zlib.crc32(ends.encode()) % PERIOD
        self._peers[peer] = _Peer(credentials, role, Schedule(phase=phase))

    def set_remote(
        self, peer: PeerId, candidates: Sequence[Candidate], *, varies: bool, now: float
    ) -> None:
        """Take what a peer has announced of itself and of its NAT."""
        self._peers[peer].end = End(tuple(candidates), varies)
        self._splices.claim(peer, [candidate.endpoint for candidate in candidates], now)
        self._plan(peer, now)

    def set_path(self, peer: PeerId, path: Path | None, now: float) -> None:
        """Take the path that was selected for a peer; `None`: it was lost."""
        known = self._peers.get(peer)
        if known is None:
            return  # its path was lost because it was removed
        direct = path is not None and not path.relayed
        if direct and not known.direct:
            self._stop(peer, Outcome.SUCCEEDED, now)
            known.schedule.end(success=True)
            if isinstance(known.plan, EasyPlan):
                self._budget.refill(known.plan.addresses)
        elif known.direct and not direct:
            known.schedule.meet(now)
        known.direct = direct
        self._reckon(peer, now)

    def remove_peer(self, peer: PeerId, now: float) -> None:
        """Forget a peer and what was spliced for it."""
        self._stop(peer, Outcome.OVERTAKEN, now)
        self._splices.release(peer)
        self._moments.pop(peer, None)
        del self._peers[peer]

    def observe(self, peer: PeerId, report: PeerReport, now: float) -> None:
        """Take in how the pairs of a peer do; needed of those in `spliced_peers`."""
        self._splices.observe(peer, report, now)

    def adopt(self, splices: Sequence[Splice], now: float) -> None:
        """Take what a former run has spliced."""
        self._splices.adopt(splices, now)

    def ports_opened(self, peer: PeerId, ports: Sequence[int], now: float) -> None:
        """Take the ports that were opened; that they are few is no reason not to try."""
        running = self._running
        if running is None or running.peer != peer:
            return
        if isinstance(running.campaign, HardCampaign) and ports:
            running.campaign.opened(ports, now)
            self._outbox += running.campaign.datagrams_to_send()
        else:
            self._stop(peer, Outcome.NOT_POSSIBLE, now)

    def spliced(self, peer: PeerId, splice: Splice, now: float) -> None:
        """Note that what was won is in force."""
        self._splices.hold(peer, splice, now)
        if peer not in self._peers:
            self._splices.release(peer)

    def splice_failed(self, peer: PeerId) -> None:
        """Note that what was won could not be spliced."""
        if peer in self._peers:
            self._peers[peer].outcome = Outcome.NOT_POSSIBLE

    # What it knows ----------------------------------------------------------------------------

    @property
    def spliced_peers(self) -> tuple[PeerId, ...]:
        """Peers with a splice in force."""
        return self._splices.peers

    def report(self, peer: PeerId, now: float) -> PredictionReport:
        """Describe what was tried with a peer."""
        known, splice = self._peers[peer], self._splices.of(peer)
        return PredictionReport(
            side=None if known.plan is None else known.plan.side,
            tries=known.tries,
            last_try_age=None if known.tried_at is None else now - known.tried_at,
            outcome=known.outcome,
            spliced_port=None if splice is None else splice.port,
        )

    # Machine ----------------------------------------------------------------------------------

    def receive_datagram(self, datagram: Datagram, now: float) -> None:
        """Handle what came in at an opened port."""
        running = self._running
        if running is None or not isinstance(running.campaign, HardCampaign):
            self.counters["ignored: no campaign is running"] += 1
            return
        splice = running.campaign.receive_datagram(datagram, now)
        if splice is not None:
            self.counters["won"] += 1
            check = Datagram(datagram.source, splice.base, datagram.payload)
            self._events.append(PortWon(running.peer, splice, check))
            self._stop(running.peer, Outcome.SUCCEEDED, now)

    def handle_timeout(self, now: float) -> None:
        self._splices.handle_timeout(now)
        if self._running is not None:
            campaign = self._running.campaign
            campaign.handle_timeout(now)
            self._outbox += campaign.datagrams_to_send()
            if now >= campaign.ends_at:
                self._stop(self._running.peer, Outcome.NOTHING_MET, now)
        for peer in [peer for peer, at in self._moments.items() if at + LATEST < now]:
            self._reckon(peer, now)  # missed, because another campaign was running
        if self._running is None and self._moments:
            peer = min(self._moments, key=lambda peer: self._moments[peer])
            if self._moments[peer] <= now:
                self._begin(peer, now)

    def next_timeout(self) -> float | None:
        times = [self._splices.next_timeout()]
        if self._running is not None:
            times.append(self._running.campaign.next_timeout())
        else:
            times += self._moments.values()
        soonest = min(times)
        return None if soonest == math.inf else soonest

    def datagrams_to_send(self) -> list[Datagram]:
        datagrams, self._outbox = self._outbox, []
        return datagrams

    def next_event(self) -> PredictionEvent | None:
        self._events.extend(SpliceReleased(splice) for splice in self._splices.released())
        return self._events.popleft() if self._events else None

    # Inside -----------------------------------------------------------------------------------

    def _plan_all(self, now: float) -> None:
        for peer in self._peers:
            self._plan(peer, now)

    def _plan(self, peer: PeerId, now: float) -> None:
        """Work out what a campaign would be; if that is news, both sides have just met."""
        known = self._peers[peer]
        plan = plan_for(self._own, known.end, self._may_send) if self._enabled else None
        if isinstance(plan, HardPlan) and not self._able:
            plan = None
        if plan != known.plan:
            self._stop(peer, Outcome.OVERTAKEN, now)
            known.plan = plan
            known.schedule.meet(now)
        self._reckon(peer, now)

    def _reckon(self, peer: PeerId, now: float) -> None:
        """Work out when the next try is due."""
        known = self._peers[peer]
        self._moments.pop(peer, None)
        if known.plan is None or known.direct:
            return
        lead = LEAD if isinstance(known.plan, HardPlan) else 0.0
        at = known.schedule.next_try(now, self._wall_offset, lead=lead)
        if at != math.inf:
            self._moments[peer] = at

    def _begin(self, peer: PeerId, now: float) -> None:
        known = self._peers[peer]
        assert known.plan is not None, "a moment without a plan"
        known.schedule.begin(now)
        self._reckon(peer, now)
        campaign = make_campaign(
            known.plan,
            credentials=known.credentials,
            role=known.role,
            budget=self._budget,
            rng=self._rng,
            now=now,
        )
        if campaign is None:
            self.counters["put off, the address had enough"] += 1
            return
        known.tries += 1
        known.tried_at, known.outcome = now, Outcome.RUNNING
        self._running = _Running(peer, campaign)
        self.counters[f"campaigns-{known.plan.side.value}"] += 1
        if isinstance(campaign, HardCampaign):
            wanted = PortsWanted(peer, campaign.base.ip, campaign.target, SOCKETS)
            self._events.append(wanted)
        self._outbox += campaign.datagrams_to_send()

    def _stop(self, peer: PeerId, outcome: Outcome, now: float) -> None:
        """End the campaign with a peer, if it is the one that runs."""
        running, known = self._running, self._peers[peer]
        if running is None or running.peer != peer:
            return
        self._running = None
        known.outcome = outcome
        match running.campaign:
            case HardCampaign() as campaign:
                self._events.append(PortsDone(peer))
                self.counters["openers"] += campaign.sent
                self.counters += campaign.ignored
            case EasyCampaign() as campaign:
                self.counters["probes"] += campaign.sent
        settle(running.campaign, self._budget, now)
        if outcome is not Outcome.OVERTAKEN and not known.direct:
            # Even what was won must first become a path.
            known.schedule.end(success=False)
        self._reckon(peer, now)
