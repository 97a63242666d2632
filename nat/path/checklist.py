"""The pairs of one peer: formed, pruned and capped (RFC 8445 §6.1.2, §7.2.5.3.1, §7.3.1.3)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ..candidate import TYPE_PREFERENCE, Candidate, CandidateType, is_private_use
from ..machine import Endpoint, IPAddress
from ..recent import Recent
from .credentials import Role
from .pair import Pair, PairKey, pair_priority

MAX_REMOTE_CANDIDATES: Final = 16
"""Announced candidates of one peer that are tried; the best ones."""

MAX_REFLEXIVE_CANDIDATES: Final = 4
"""Peer-reflexive candidates of one peer that are kept: a peer has a few uplinks, not hundreds."""

LEARN_INTERVAL: Final = 10.0
"""Seconds between peer-reflexive candidates that are learned after the first few. Two NATs whose
mappings depend on the destination and that let strangers in show each other a new address for
every answer to the last one; without this, two agents would chase each other for ever."""

MAX_PAIRS: Final = 100
"""Pairs of one peer that are kept; the best ones (RFC 8445 §6.1.2.5)."""

PROTECTED_RELAYED: Final = 8
"""Relayed pairs, the best ones, that stay whatever the number of others: their priority is the
lowest there is, and they may be all that works."""

REFLEXIVE_LIFETIME: Final = 120.0
"""Seconds without a sign of life after which a candidate that nobody announces is forgotten."""


class Checklist:
    """Pairs of one peer, by what identifies them.

    Args:
        role: decides the priority of pairs.
        may_check: whether an address may be the target of checks at all.
    """

    def __init__(self, *, role: Role, may_check: Callable[[IPAddress], bool]) -> None:
        self._role = role
        self._may_check = may_check
        self._local: tuple[Candidate, ...] = ()
        self._remote: tuple[Candidate, ...] = ()
        self._pairs: dict[PairKey, Pair] = {}
        self._learned_at: Recent[float] = Recent(MAX_REFLEXIVE_CANDIDATES)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._pairs.values())

    @property
    def complete(self) -> bool:
        """Whether there are candidates on both sides."""
        return bool(self._local) and bool(self._remote or self._pairs)

    def get(self, key: PairKey | None) -> Pair | None:
        """Return a pair if it is there."""
        return None if key is None else self._pairs.get(key)

    def has_base(self, base: Endpoint) -> bool:
        """Whether an address is still ours."""
        return any(candidate.base == base for candidate in self._local)

    def with_remote(self, endpoint: Endpoint) -> list[Pair]:
        """Return the pairs that lead to `endpoint`, whatever their base."""
        return [pair for pair in self if pair.key.remote == endpoint]

    def with_data(self, endpoint: Endpoint) -> list[Pair]:
        """Return the pairs whose data the data plane sends to `endpoint`."""
        return [pair for pair in self if pair.data == endpoint]

    def set_local(self, candidates: Sequence[Candidate], now: float) -> bool:
        """Take our own candidates; whether they have changed."""
        if tuple(candidates) == self._local:
            return False
        self._local = tuple(candidates)
        bases = self._bases()
        for key in [key for key in self._pairs if key.base not in bases]:
            del self._pairs[key]
        for pair in self:
            pair.local = bases[pair.key.base]
        self._form(now)
        return True

    def set_remote(self, candidates: Sequence[Candidate], now: float) -> None:
        """Take what the peer has announced. Pairs that work outlive their announcement."""
        allowed = [candidate for candidate in candidates if self._may_check(candidate.endpoint.ip)]
        best: dict[Endpoint, Candidate] = {}
        for candidate in sorted(allowed, key=lambda candidate: -candidate.priority):
            if len(best) < MAX_REMOTE_CANDIDATES:
                best.setdefault(candidate.endpoint, candidate)
        self._remote = tuple(best.values())
        for key, pair in list(self._pairs.items()):
            announced = best.get(key.remote)
            if announced is not None:
                # RFC 8838 §11.4: a peer-reflexive candidate turns out to be another kind.
                pair.remote, pair.announced = announced, True
            elif pair.announced and not pair.valid:
                del self._pairs[key]
            else:
                pair.announced = False
        self._form(now)

    def learn(self, key: PairKey, priority: int, now: float) -> Pair | None:
        """Form the pair of a peer-reflexive remote candidate; `None`: it is refused."""
        local = self._bases().get(key.base)
        if local is None or not self._may_check(key.remote.ip):
            return None
        known = next(iter(self.with_remote(key.remote)), None)
        if known is not None:
            return self._add(local, known.remote, announced=known.announced, now=now)
        if not self._may_learn(now):
            return None
        self._make_room()
        kind = _learned_kind(priority)
        remote = Candidate(kind, key.remote, priority, _foundation(key.remote), key.remote)
        return self._add(local, remote, announced=False, now=now)

    def forget_learning(self) -> None:
        """Let candidates be learned as at the start: something has changed."""
        self._learned_at.clear()

    def learn_everywhere(self, endpoint: Endpoint, priority: int, now: float) -> list[Pair]:
        """Form the pairs of a remote address that only data has revealed: it came past relays."""
        for base, local in self._bases().items():
            relayed = local.type is CandidateType.RELAYED
            if base.ip.version == endpoint.ip.version and not relayed:
                self.learn(PairKey(base, endpoint), priority, now)
        return self.with_data(endpoint)

    def forget_stale(self, now: float) -> None:
        """Drop peer-reflexive pairs that show no sign of life."""
        for pair in [pair for pair in self if not (pair.announced or pair.valid or pair.selected)]:
            if now - _last_sign(pair) > REFLEXIVE_LIFETIME:
                del self._pairs[pair.key]

    def mapped_candidate(self, pair: Pair) -> Candidate:
        """Return our end of a valid pair as the peer sees it (RFC 8445 §7.2.5.3.1)."""
        mapped = pair.mapped or pair.key.base
        if pair.local.type is CandidateType.RELAYED:
            return pair.local
        for candidate in self._local:
            if candidate.endpoint == mapped:
                return candidate
        return Candidate(
            CandidateType.PEER_REFLEXIVE,
            mapped,
            pair.local.priority,
            _foundation(mapped),
            pair.key.base,
        )

    def _bases(self) -> dict[Endpoint, Candidate]:
        """Return the best candidate of each base: pairs with the same base are one pair.

        RFC 8445 §6.1.2.4 replaces reflexive candidates by their base, then prunes.
        """
        bases: dict[Endpoint, Candidate] = {}
        for candidate in sorted(self._local, key=lambda candidate: -candidate.priority):
            bases.setdefault(candidate.base, candidate)
        return bases

    def _form(self, now: float) -> None:
        bases = self._bases().values()
        for remote in self._remote:
            for local in bases:
                if _may_pair(local, remote):
                    self._add(local, remote, announced=True, now=now)
        excess = len(self._pairs) - MAX_PAIRS
        if excess > 0:
            ranked = sorted(self, key=lambda pair: -pair.priority)
            kept = [pair for pair in ranked if pair.relay_hops][:PROTECTED_RELAYED]
            spare = [pair for pair in reversed(ranked) if not (pair.valid or pair in kept)]
            for pair in spare[:excess]:
                del self._pairs[pair.key]

    def _add(
        self, local: Candidate, remote: Candidate, *, announced: bool, now: float
    ) -> Pair | None:
        key = PairKey(local.base, remote.endpoint)
        if key.base.ip.version != key.remote.ip.version:
            return None
        if key not in self._pairs:
            ours_first = self._role is Role.CONTROLLING
            ends = (local.priority, remote.priority)
            priority = pair_priority(*(ends if ours_first else reversed(ends)))
            data = None if local.type is CandidateType.RELAYED else key.remote
            self._pairs[key] = Pair(key, local, remote, priority, announced, now, now, data)
        return self._pairs[key]

    def _may_learn(self, now: float) -> bool:
        """Whether another peer-reflexive candidate may be learned; if so, it is."""
        often = len(self._learned_at) == MAX_REFLEXIVE_CANDIDATES
        if often and now - self._learned_at[0] < LEARN_INTERVAL * MAX_REFLEXIVE_CANDIDATES:
            return False
        self._learned_at.append(now)
        return True

    def _make_room(self) -> None:
        """Keep the number of peer-reflexive candidates: the one least alive goes."""
        alive: dict[Endpoint, tuple[bool, bool, float]] = {}
        for pair in self:
            if not pair.announced:
                sign = (pair.selected, pair.valid, _last_sign(pair))
                alive[pair.key.remote] = max(sign, alive.get(pair.key.remote, sign))
        if len(alive) >= MAX_REFLEXIVE_CANDIDATES:
            loser = min(alive, key=lambda endpoint: alive[endpoint])
            for pair in self.with_remote(loser):
                del self._pairs[pair.key]


def _may_pair(local: Candidate, remote: Candidate) -> bool:
    """Whether a pair makes sense: a relay in the internet does not reach a private address."""
    relayed = local.type is CandidateType.RELAYED
    inside = is_private_use(remote.endpoint.ip) and not is_private_use(local.endpoint.ip)
    return not (relayed and inside)


def _learned_kind(priority: int) -> CandidateType:
    """Return what a candidate is that no announcement names.

    An agent that checks from a relayed address says so by its type preference, which no other kind
    has (RFC 8445 §5.1.2.1, §7.1.1).
    """
    relayed = priority >> 24 == TYPE_PREFERENCE[CandidateType.RELAYED]
    return CandidateType.RELAYED if relayed else CandidateType.PEER_REFLEXIVE


def _last_sign(pair: Pair) -> float:
    return max(pair.noticed_at, pair.heard_at or 0.0, pair.answered_at or 0.0)


def _foundation(endpoint: Endpoint) -> str:
    """Return a foundation that no announced candidate has (RFC 8445 §7.3.1.3).

    "-" is no ice-char (RFC 8839 §5.1).
    """
    return f"prflx-{endpoint.ip.version}-{endpoint.port}"
