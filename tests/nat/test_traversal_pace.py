"""How many datagrams leave, however many peers there are and whatever they announce."""

from nat.candidate import CandidateType, local_candidate
from nat.pacer import BURST, RATE
from nat.path.credentials import IceCredentials, Role
from nat.path.events import (
    PathLost,
    PathSelected,
    PeerId,
)
from tests.support.crowd import crowd, lone_traversal
from tests.support.network import endpoint
from tests.support.peers import (
    Peers,
)


def test_no_more_than_200_datagrams_leave_in_any_second() -> None:
    traversal = lone_traversal()
    crowd(traversal, peers=60, candidates=10)
    times: list[float] = [0.0] * len(traversal.datagrams_to_send())

    now = 0.0
    while (due := traversal.next_timeout()) is not None and due < 10.0:
        now = max(now, due)
        traversal.handle_timeout(now)
        times += [now] * len(traversal.datagrams_to_send())

    assert len(times) > 1000
    for at in times[:: len(times) // 50]:
        assert len([t for t in times if at <= t < at + 1.0]) <= RATE + BURST


def test_a_selected_pair_is_not_starved_by_hunting() -> None:
    peers = Peers()
    peers.meet()
    crowd(peers.a.traversal, peers=60, candidates=10)

    peers.run(until=30.0)

    assert peers.a.host.events_of(PathLost) == []
    assert peers.b.host.events_of(PathLost) == []
    path_a, path_b = peers.paths
    assert path_a is not None
    assert path_b is not None
    assert len(peers.a.host.events_of(PathSelected)) == 1


def test_a_victim_that_many_members_name_gets_only_a_few_datagrams() -> None:
    traversal = lone_traversal()
    for i in range(20):
        name = PeerId(f"member-{i}")
        traversal.add_peer(
            name,
            credentials=IceCredentials(f"l{i}", "p", f"r{i}", "p"),
            role=Role.CONTROLLING,
            now=0.0,
        )
        victims = [endpoint("203.0.113.9", 1000 + 16 * i + j) for j in range(16)]
        announced = [local_candidate(CandidateType.HOST, e, e) for e in victims]
        traversal.set_remote_candidates(name, announced, 0.0)
    sent = len(traversal.datagrams_to_send())

    now = 0.0
    while (due := traversal.next_timeout()) is not None and due < 60.0:
        now = max(now, due)
        traversal.handle_timeout(now)
        sent += len(traversal.datagrams_to_send())

    assert sent <= 60 + 5 * 60
    assert traversal.counters["sent to strangers too often"] > 1000
