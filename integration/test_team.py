"""The demo's team: neighbours in one home, another home, a public host."""

from itertools import combinations

from .conftest import Labs
from .mesh import peer_of, ping_all, simulator, wait_connected

NODES = ("alice", "bob", "carol", "dave")


def test_a_team_becomes_one_mesh_and_neighbours_use_their_lan(labs: Labs) -> None:
    lab = labs.up("team.yaml")
    wait_connected(lab, NODES, seconds=30)
    ping_all(lab, NODES)

    statuses = {node: lab.status(node) for node in NODES}
    assert len({status.self_.ip for status in statuses.values()}) == len(NODES)
    neighbours = peer_of(statuses["alice"], "bob").path
    assert neighbours is not None
    assert neighbours.kind == "host"
    assert neighbours.remote.address.startswith("192.168.1.11:")
    for one, other in combinations(NODES, 2):
        here, there = peer_of(statuses[one], other).path, peer_of(statuses[other], one).path
        assert here is not None
        assert there is not None
        assert here.kind == there.kind, f"{one} and {other} report the same kind"
        assert not here.relayed


def test_a_latecomer_meets_everybody_with_what_the_channel_holds(labs: Labs) -> None:
    lab = labs.up("team.yaml")
    wait_connected(lab, NODES, seconds=30)
    assert lab.stop("carol") == 0
    said = len(simulator(lab).messages("acme.vpn", "announce"))

    lab.start("carol")
    wait_connected(lab, NODES, seconds=30)

    assert len(simulator(lab).messages("acme.vpn", "announce")) - said <= 3, (
        "a newcomer makes nobody else announce anew"
    )
