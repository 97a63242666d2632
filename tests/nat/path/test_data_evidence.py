"""What the data plane proves outranks every check: far agents that die and come back."""

import pytest

from nat.path.events import Activity, PathLost, PathSelected
from nat.stun.message import is_stun
from tests.support.peers import Peers
from tests.support.traffic import send_data
from tests.support.two_uplinks import (
    FAR,
    FAST,
    LIGHT_TRAFFIC,
    SETTLED,
    TRAFFIC,
    latency,
    on_fast,
    two_uplinks,
    uplink,
)


@pytest.mark.parametrize("silent", ["a", "b"])
@pytest.mark.parametrize("minutes", [1, 5])
def test_the_death_of_the_far_agent_moves_nothing_while_its_kernel_lives(
    silent: str, minutes: int
) -> None:
    peers = two_uplinks(traffic=LIGHT_TRAFFIC)
    peers.run(until=SETTLED)
    dead, alive = (peers.a, peers.b) if silent == "a" else (peers.b, peers.a)
    events = len(alive.host.events)

    dead.sidecar.agent_alive = False
    peers.run(until=SETTLED + minutes * 60.0)

    assert alive.report(peers.network.now).activity is Activity.SILENT
    assert [e for e in alive.host.events[events:] if isinstance(e, PathSelected | PathLost)] == []
    dead.sidecar.agent_alive = True
    peers.run(until=SETTLED + minutes * 60.0 + 40.0)
    assert alive.report(peers.network.now).activity is Activity.CONNECTED
    assert uplink(peers) == [FAST, FAST]
    for node, sender in ((peers.a, peers.b), (peers.b, peers.a)):
        numbers = [number for _, number in node.wireguard.received]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= sender.wireguard.sent - 5


def test_a_firewall_that_begins_to_eat_stun_moves_nothing() -> None:
    peers = two_uplinks()
    peers.run(until=SETTLED)

    peers.network.block(lambda d: on_fast(d) and is_stun(d.payload))
    peers.run(until=SETTLED + 120.0)

    assert uplink(peers) == [FAST, FAST]
    # Each sign of life by the other uplink gives the silent one a fair chance for a moment.
    seen: list[Activity] = []
    for second in range(20):
        peers.run(until=SETTLED + 120.0 + second)
        seen += [node.report(peers.network.now).activity for node in (peers.a, peers.b)]
    assert set(seen) <= {Activity.SILENT, Activity.CONNECTED}
    assert seen.count(Activity.SILENT) > len(seen) / 2
    for node in (peers.a, peers.b):
        assert len(node.host.events_of(PathSelected)) == 1


@pytest.mark.parametrize("restarted", ["a", "b"])
@pytest.mark.parametrize("down", [0.5, 120.0])
def test_an_agent_that_is_restarted_with_nothing_left_finds_the_same_pair(
    restarted: str, down: float
) -> None:
    peers = two_uplinks(traffic=LIGHT_TRAFFIC)
    peers.run(until=SETTLED)
    # Some renominations, so that the numbers of the old agent are behind the new one's back.
    lift = peers.network.block(on_fast)
    peers.run(until=SETTLED + 10.0)
    lift()
    peers.run(until=SETTLED + 60.0)
    assert uplink(peers) == [FAST, FAST]
    node, other = (peers.a, peers.b) if restarted == "a" else (peers.b, peers.a)
    events = len(other.host.events)

    node.sidecar.agent_alive = False
    peers.run(until=SETTLED + 60.0 + down)
    peers.restart(node)
    peers.introduce(node, other)
    peers.run(until=SETTLED + 60.0 + down + 10.0)

    assert uplink(peers) == [FAST, FAST]
    assert [e for e in other.host.events[events:] if isinstance(e, PathSelected | PathLost)] == []
    for one, sender in ((peers.a, peers.b), (peers.b, peers.a)):
        numbers = [n for at, n in one.wireguard.received if at >= SETTLED + 60.0]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[-1] >= sender.wireguard.sent - 2


@pytest.mark.parametrize("restarted", ["a", "b"])
@pytest.mark.parametrize("down", [1.5, 3.0, 4.9, 20.0])
def test_an_agent_that_is_back_is_not_taken_for_silent_any_longer(
    restarted: str, down: float
) -> None:
    peers = Peers(a=(FAST,), b=(FAR,), latency=latency(), data=True)
    peers.meet()
    send_data(peers, TRAFFIC, 2.0)
    peers.run(until=SETTLED)
    node, other = (peers.a, peers.b) if restarted == "a" else (peers.b, peers.a)

    node.sidecar.agent_alive = False
    peers.run(until=SETTLED + down)
    peers.restart(node)
    peers.introduce(node, other)
    peers.run(until=SETTLED + down + 0.5)

    assert other.report(peers.network.now).activity is Activity.CONNECTED
    assert node.report(peers.network.now).activity is Activity.CONNECTED
