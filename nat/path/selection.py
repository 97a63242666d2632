"""Which pair carries the data: chosen, kept, vetoed, lost (RFC 8445 §8.1.1, design D5).

Selection never ends. The rules, in order:

1. The selected pair is kept while it answers checks, or while the data plane proves it.
2. It is left when another pair has answered since it fell silent, or when nothing speaks for it.
3. It is vetoed when data on it is not answered though checks are, if there is another.
4. The controlling side takes the best usable pair (`score`) and nominates it.
5. The controlled side takes the nominated pair; if that does not work and no other is nominated
   in time, its own best.
"""

import math
from collections.abc import Callable
from typing import Final

from ..candidate import CandidateType
from .checklist import Checklist
from .checks import Check
from .credentials import Role
from .events import LossReason
from .evidence import DataEvidence
from .nomination import NominationFollower, Nominator
from .pair import Pair, PairKey
from .score import Score, best_pair

FALLBACK_DELAY: Final = 1.0
"""Seconds that the controlled side waits for a nomination before it takes a pair of its own: the
controlling side needs about as long to notice the same loss."""

LONG_SILENCE: Final = 5.0
"""Seconds of silence after which a sign of life means that the far agent is back. Its first check
may come in on any pair; the selected one gets a fair chance before it is left."""


TRIAL: Final = 60.0
"""Seconds that a pair must carry data until former vetoes are forgotten: longer than it takes to
find out that it does not."""

UNDER_WAY: Final = 0.25
"""Seconds for which the peer's checks may still come in after it has ceased to send any."""

FAIR_START: Final = 0.1
"""Seconds that the selected pair has after another has answered: an agent that was busy for a
while answers on all of them at once, and in any order."""


class Selection:
    """The selected pair of one peer.

    Args:
        role: who nominates.
        checklist: the pairs to choose from.
        evidence: what the data plane proves.
        agrees: whether a pair leaves by the uplink that other peers at its address use.
    """

    def __init__(
        self,
        *,
        role: Role,
        checklist: Checklist,
        evidence: DataEvidence,
        agrees: Callable[[PairKey], bool],
    ) -> None:
        self._agrees = agrees
        self.nominator = Nominator()
        self.follower = NominationFollower()
        self._role = role
        self._checklist = checklist
        self._evidence = evidence
        self._selected: Pair | None = None
        self._silent = False
        self._loss = LossReason.CHECKS_UNANSWERED
        self._fallback_at = math.inf
        self._selected_at = -math.inf
        self._stepped_at = -math.inf

    @property
    def selected(self) -> Pair | None:
        """The pair that carries the data."""
        return self._selected

    @property
    def silent(self) -> bool:
        """Whether only the data speaks for the selected pair."""
        return self._silent

    @property
    def loss(self) -> LossReason:
        """Why the last selected pair was left."""
        return self._loss

    def nomination(self, pair: Pair) -> int | None:
        """Return the number that a check of `pair` carries, if it nominates."""
        nominates = self._role is Role.CONTROLLING and pair.selected
        return self.nominator.number if nominates else None

    def nominated(self, pair: Pair, check: Check, now: float) -> None:
        """Note what a check says of its pair, on the controlled side."""
        if check.nomination is not None:
            self.follower.follow_numbered(check.nomination, pair.key, check.transaction_id)
        elif check.use_candidate:
            current = self._checklist.get(self.follower.key)
            works = current is not None and current.usable(now)
            self.follower.follow_plain(pair.key, pair.priority, replace=not works)

    def answered(self, nomination: int | None, now: float) -> None:
        """Note what the peer follows, as told in an answer, on the controlling side."""
        if not self._drives or nomination is None or self._selected is None:
            return
        if self.nominator.overtake(nomination):
            self._selected.ask(now)

    def refuses(self, pair: Pair, now: float) -> bool:
        """Whether the peer is to be told that data does not get through on a pair.

        Only this side may know: where one direction is blocked, the other side's data arrives.
        """
        return pair.ready and pair not in self._usable(now)

    def refused(self, pair: Pair, now: float) -> None:
        """Note that the peer does not accept a pair (any more)."""
        if pair.valid:
            self._loss = LossReason.DATA_UNANSWERED
            pair.reject(now)

    def life_sign(self, now: float) -> None:
        """Note that the far agent is there."""
        pair = self._selected
        if pair is None or not self._silent or pair.unanswered_since is None:
            return
        if now - pair.unanswered_since > LONG_SILENCE:
            self._silent = False
            pair.new_round()
            pair.ask(now)
        else:
            # A restart that took a moment: the next regular check is half a minute away.
            pair.trigger(now, densely=False)

    def step(self, now: float) -> None:
        """Apply the rules to what is known now."""
        self._stepped_at = now
        self._drop_dead_alternatives(now)
        self._judge_selected(now)
        self._veto_unanswered(now)
        self._choose(now)

    def confirm(self, now: float) -> None:
        """Let a pair that has carried data both ways for a while start with a clean record."""
        pair = self._selected
        if pair is None or not self._evidence.delivers(pair.data):
            return
        if now - self._selected_at > TRIAL:
            pair.vetoes = 0

    def move(self, pair: Pair, now: float) -> None:
        """Select a valid pair that the data has moved to; the old one must prove itself again."""
        if self._selected is not None:
            self._selected.samples.clear()
            self._selected.ask(now)
        self.follower.adopt(pair.key)
        self._select(pair, now)

    def next_timeout(self) -> float:
        """Return when `step` may next come to another result of itself; infinity: never."""
        times = [self._fallback_at, self._evidence.unanswered_at()]
        for pair in self._checklist:
            times.append(pair.vetoed_until)
            if (overdue_at := pair.overdue_at()) is not None:
                times.append(overdue_at)
        if self._silent:
            times.append(self._evidence.changes_after(self._stepped_at))
        if self._selected is not None and self._selected.unanswered:
            times.append(self._overtaken_at(self._selected, self._stepped_at))
        return min((time for time in times if time > self._stepped_at), default=math.inf)

    def _drop_dead_alternatives(self, now: float) -> None:
        for pair in self._checklist:
            if pair.selected or not pair.overdue(now):
                continue
            if self._evidence.active(now) or self._selected is None:
                pair.fail(now)
            else:
                # A NAT has forgotten it: that happens to alternatives, which are rarely checked.
                pair.lapse(now)

    def _judge_selected(self, now: float) -> None:
        pair = self._selected
        if pair is None:
            return
        if self._checklist.get(pair.key) is not pair:
            known = self._checklist.has_base(pair.key.base)
            self._leave(LossReason.CHECKS_UNANSWERED if known else LossReason.ADDRESS_GONE)
            # The other side cannot know it yet; where our data comes from will tell it.
            self._fallback_at = now
        elif not pair.overdue(now):
            self._silent = self._silent and pair.unanswered > 0
        elif self._speaks_for(pair, now):
            self._silent = True
        else:
            self._silent = False
            self._loss = LossReason.CHECKS_UNANSWERED
            for other in self._checklist:
                other.hunt(now)
            pair.fail(now)

    def _speaks_for(self, pair: Pair, now: float) -> bool:
        """Whether a selected pair is kept though its checks are not answered."""
        since = pair.unanswered_since or now
        heard = (pair.heard_at or 0.0) > since + max(UNDER_WAY, pair.rtt or 0.0)
        if self._evidence.proves(pair.data, since, now) and not heard:
            # Data comes in, checks do not: a dead agent, or a firewall that eats STUN. But a peer
            # whose checks come in is alive, and does not hear ours: one direction is dead.
            return True
        if self._overtaken_at(pair, now) <= now:
            return False
        return self._evidence.supports(pair.data, now)

    def _overtaken_at(self, pair: Pair, now: float) -> float:
        """When another pair will have proven for long enough that it works while this does not."""
        others = (
            other.first_answer_since(pair.unanswered_since)
            for other in self._usable(now)
            if other is not pair
        )
        answered = min((at for at in others if at is not None), default=math.inf)
        return answered + FAIR_START

    def _veto_unanswered(self, now: float) -> None:
        pair = self._selected
        if (
            pair is not None
            and pair.valid
            and now >= self._evidence.unanswered_at()
            and self._evidence.endpoint == pair.data
            and any(other is not pair and other.usable(now) for other in self._checklist)
        ):
            self._loss = LossReason.DATA_UNANSWERED
            pair.veto(now)

    def _choose(self, now: float) -> None:
        usable = self._usable(now)
        choose = self._controlling_choice if self._drives else self._controlled
        pair = choose(usable, now)
        if pair is not None:
            if pair is not self._selected:
                self._select(pair, now)
        elif not usable and self._selected is not None and not self._selected.valid:
            self._leave(self._loss)

    def _controlling_choice(self, usable: list[Pair], now: float) -> Pair | None:
        scored = [(pair, self._score(pair)) for pair in usable]
        incumbent = next((entry for entry in scored if entry[0] is self._selected), None)
        chosen = best_pair(scored, incumbent)
        if chosen is None or incumbent is None or self._compared(chosen, incumbent[0]):
            return chosen
        if not incumbent[0].unanswered:
            incumbent[0].ask(now)
        return incumbent[0]

    def _compared(self, pair: Pair, incumbent: Pair) -> bool:
        """Whether the times of two pairs can be compared.

        A pair that is new has been measured later than the one that is used: what kept the hosts
        busy may have ended between. So that one is measured once more.
        """
        if pair is incumbent or pair.relay_hops != incumbent.relay_hops:
            return True
        return (incumbent.answered_at or 0.0) > pair.settled_at

    def _controlled(self, usable: list[Pair], now: float) -> Pair | None:
        nominated = self._checklist.get(self.follower.key)
        for pair in (nominated, self._selected):
            if pair is not None and pair in usable:
                self._fallback_at = math.inf
                return pair
        if not usable:
            self._fallback_at = math.inf
            return None
        vetoed = self._selected is not None and self._selected.valid
        if self._fallback_at == math.inf and not vetoed:
            self._fallback_at = now + FALLBACK_DELAY
        if now < self._fallback_at and not vetoed:
            return None
        self._fallback_at = math.inf
        return best_pair([(pair, self._score(pair)) for pair in usable], None)

    @property
    def _drives(self) -> bool:
        return self._role is Role.CONTROLLING

    def _usable(self, now: float) -> list[Pair]:
        """Return the pairs that are ready and not vetoed; all ready ones if every one is vetoed.

        Of these, those that agree with the other peers behind the same address, if there are any.
        """
        ready = [pair for pair in self._checklist if pair.ready]
        usable = [pair for pair in ready if pair.usable(now)] or ready
        return [pair for pair in usable if self._agreed(pair)] or usable

    def _agreed(self, pair: Pair) -> bool:
        # What a relay of ours carries leaves by the way to the relay.
        return pair.local.type is CandidateType.RELAYED or self._agrees(pair.key)

    def _score(self, pair: Pair) -> Score:
        local = self._checklist.mapped_candidate(pair)
        return Score(
            relay_hops=pair.relay_hops,
            kind_rank=max(local.type.rank, pair.remote.type.rank),
            rtt=math.inf if pair.rtt is None else pair.rtt,
            least=math.inf if pair.least_rtt is None else pair.least_rtt,
            samples=len(pair.samples),
            priority=pair.priority,
        )

    def _select(self, pair: Pair, now: float) -> None:
        if self._selected is not None:
            self._selected.selected = False
        pair.selected = True
        self._selected = pair
        self._selected_at = now
        self._silent = False
        self._evidence.forget_unanswered()
        if self._drives:
            self.nominator.nominate()
            pair.ask(now)

    def _leave(self, reason: LossReason) -> None:
        if self._selected is not None:
            self._selected.selected = False
        self._loss = reason
        self._selected = None
        self._silent = False
