"""Which pairs there are: formed, pruned, capped (RFC 8445 §6.1.2)."""

from nat.candidate import Candidate, CandidateType, is_reachable_address, local_candidate
from nat.machine import Endpoint
from nat.path.checklist import MAX_PAIRS, Checklist
from nat.path.credentials import Role
from nat.path.pair import PairKey, pair_priority
from tests.support.network import endpoint

BASES = [endpoint(f"192.168.{i}.2") for i in range(1, 9)]
PUBLIC = endpoint("198.51.100.1", 42000)


def checklist(role: Role = Role.CONTROLLING) -> Checklist:
    return Checklist(role=role, may_check=is_reachable_address)


def host(at: Endpoint) -> Candidate:
    return local_candidate(CandidateType.HOST, at, at)


def reflexive(at: Endpoint, base: Endpoint) -> Candidate:
    return local_candidate(CandidateType.SERVER_REFLEXIVE, at, base)


def remotes(count: int, start: int = 1) -> list[Candidate]:
    return [host(endpoint(f"203.0.113.{i}")) for i in range(start, start + count)]


def test_reflexive_candidates_make_no_pairs_of_their_own() -> None:
    pairs = checklist()

    pairs.set_local([host(BASES[0]), reflexive(PUBLIC, BASES[0])], 0.0)
    pairs.set_remote(remotes(2), 0.0)

    assert [pair.key for pair in pairs] == [
        PairKey(BASES[0], candidate.endpoint) for candidate in remotes(2)
    ]


def test_both_sides_compute_the_same_priority() -> None:
    ours, theirs = host(BASES[0]), reflexive(PUBLIC, PUBLIC)
    mine, yours = checklist(Role.CONTROLLING), checklist(Role.CONTROLLED)

    mine.set_local([ours], 0.0)
    mine.set_remote([theirs], 0.0)
    yours.set_local([theirs], 0.0)
    yours.set_remote([host(endpoint("203.0.113.5"))], 0.0)

    expected = pair_priority(ours.priority, theirs.priority)
    assert [pair.priority for pair in mine] == [expected]
    assert [pair.priority for pair in yours] == [expected]


def test_only_the_best_pairs_are_kept() -> None:
    pairs = checklist()

    pairs.set_remote(remotes(16), 0.0)
    pairs.set_local([host(base) for base in BASES], 0.0)

    assert len(list(pairs)) == MAX_PAIRS


def test_a_pair_that_works_is_never_pruned() -> None:
    pairs = checklist()
    low = Candidate(CandidateType.HOST, endpoint("203.0.113.99"), 1, "1", endpoint("203.0.113.99"))
    pairs.set_local([host(BASES[0])], 0.0)
    pairs.set_remote([low], 0.0)
    (working,) = pairs
    working.valid = True

    pairs.set_local([host(base) for base in BASES], 1.0)
    pairs.set_remote([*remotes(15), low], 1.0)

    assert pairs.get(working.key) is working
    assert len(list(pairs)) == MAX_PAIRS


def test_a_base_that_goes_takes_its_pairs_with_it() -> None:
    pairs = checklist()
    pairs.set_local([host(BASES[0]), host(BASES[1])], 0.0)
    pairs.set_remote(remotes(2), 0.0)

    assert pairs.set_local([host(BASES[1])], 1.0)

    assert {pair.key.base for pair in pairs} == {BASES[1]}
    assert not pairs.has_base(BASES[0])


def test_pairs_that_stay_keep_what_was_measured() -> None:
    pairs = checklist()
    pairs.set_local([host(BASES[0])], 0.0)
    pairs.set_remote(remotes(1), 0.0)
    (before,) = pairs

    pairs.set_local([host(BASES[0]), host(BASES[1])], 1.0)
    pairs.set_remote(remotes(2), 1.0)

    assert pairs.get(before.key) is before
    assert len(list(pairs)) == 4


def test_equal_candidates_are_no_change() -> None:
    pairs = checklist()

    assert pairs.set_local([host(BASES[0])], 0.0)
    assert not pairs.set_local([host(BASES[0])], 1.0)


def test_of_two_candidates_at_one_address_the_better_counts() -> None:
    at = endpoint("203.0.113.1")
    pairs = checklist()
    pairs.set_local([host(BASES[0])], 0.0)

    pairs.set_remote([reflexive(at, at), host(at)], 0.0)

    assert [pair.remote.type for pair in pairs] == [CandidateType.HOST]


def test_our_end_is_the_candidate_with_the_mapped_address() -> None:
    ours = [host(BASES[0]), reflexive(PUBLIC, BASES[0])]
    pairs = checklist()
    pairs.set_local(ours, 0.0)
    pairs.set_remote(remotes(1), 0.0)
    (pair,) = pairs

    ends = []
    for mapped in (BASES[0], PUBLIC, endpoint("198.51.100.1", 42001)):
        pair.answered(mapped, 0.02, 0.0)
        ends.append(pairs.mapped_candidate(pair))

    assert ends[:2] == ours
    assert ends[2].type is CandidateType.PEER_REFLEXIVE
    assert ends[2].endpoint == endpoint("198.51.100.1", 42001)
    assert ends[2].base == BASES[0]


def test_a_relayed_base_is_its_own_mapped_address() -> None:
    relayed = local_candidate(CandidateType.RELAYED, PUBLIC, PUBLIC)
    pairs = checklist()
    pairs.set_local([relayed], 0.0)
    pairs.set_remote(remotes(1), 0.0)
    (pair,) = pairs
    pair.answered(endpoint("203.0.113.200", 1), 0.02, 0.0)

    assert pairs.mapped_candidate(pair) == relayed
    assert pair.relay_hops == 1


def test_an_address_that_data_revealed_is_paired_with_every_base_of_its_family() -> None:
    six = endpoint("2001:db8::1")
    pairs = checklist()
    pairs.set_local([host(BASES[0]), host(BASES[1]), host(six)], 0.0)

    learned = pairs.learn_everywhere(endpoint("203.0.113.7"), 1, 0.0)

    assert {pair.key.base for pair in learned} == {BASES[0], BASES[1]}


def test_a_foundation_of_ours_is_no_announced_one() -> None:
    """RFC 8445 §7.3.1.3 wants one that is not equal to any other's."""
    pairs = checklist()
    pairs.set_local([host(BASES[0])], 0.0)

    pair = pairs.learn(PairKey(BASES[0], endpoint("203.0.113.7")), 1, 0.0)

    assert pair is not None
    assert "-" in pair.remote.foundation
