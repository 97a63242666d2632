"""Two agents find how wide their path is, without any harm to the path."""

from nat.machine import Datagram
from nat.path.events import PathLost, PathMtuChanged, PathSelected
from nat.stun.message import MessageClass, parse
from tests.support.network import endpoint
from tests.support.peers import MEETING, A, Node, Peers

WANTED = 1452
FAST = (endpoint("192.0.2.10"), endpoint("192.0.2.20"))
SPARE = (endpoint("198.51.100.10"), endpoint("198.51.100.20"))


def probes(peers: Peers, node: Node, since: float = 0.0) -> list[int]:
    sent = peers.network.sent_by(node.host, since)
    return [len(s.datagram.payload) for s in sent if s.datagram.dont_fragment]


def test_on_a_wide_path_each_side_sends_one_probe_and_says_nothing() -> None:
    peers = Peers(data_size=WANTED)
    peers.meet()
    peers.run(MEETING + 300.0)

    for node in (peers.a, peers.b):
        assert probes(peers, node) == [WANTED]
        assert not node.host.events_of(PathMtuChanged)


def test_a_narrow_path_is_measured_and_kept() -> None:
    peers = Peers(data_size=WANTED)
    peers.network.block(lambda datagram: len(datagram.payload) > 1300)
    peers.meet()
    peers.run(MEETING + 10.0)

    for node in (peers.a, peers.b):
        limits = [event.limit for event in node.host.events_of(PathMtuChanged)]
        assert limits[0] == 1248, "what every path carries, assumed first"
        assert limits[-1] == 1296
        assert not node.host.events_of(PathLost)
        first = node.host.events.index(node.host.events_of(PathMtuChanged)[0])
        selected = node.host.events.index(node.host.events_of(PathSelected)[0])
        assert node.host.events_at[first] - node.host.events_at[selected] <= 1.0


def test_an_idle_path_is_not_measured_again() -> None:
    peers = Peers(data_size=WANTED, data=True)
    peers.network.block(lambda datagram: len(datagram.payload) > 1300)
    peers.meet()
    peers.run(120.0)
    assert probes(peers, peers.a)
    peers.run(120.0 + 600.0)

    assert not probes(peers, peers.a, since=120.0)
    per_minute = len([s for s in peers.network.sent if s.at >= 120.0]) / 10
    servers = len(
        [
            s
            for s in peers.network.sent
            if s.at >= 120.0 and 3478 in (s.datagram.source.port, s.datagram.destination.port)
        ]
    )
    assert per_minute - servers / 10 <= 15


def test_another_pair_is_measured_anew() -> None:
    peers = Peers(a=(FAST[0], SPARE[0]), b=(FAST[1], SPARE[1]), data_size=WANTED, data=True)

    def crosses(datagram: Datagram, ends: tuple[object, ...]) -> bool:
        return datagram.source in ends and datagram.destination in ends

    # The spare way is slower and narrower; nothing passes between the two networks.
    peers.network.latency = lambda datagram: 0.08 if datagram.source in SPARE else 0.01
    peers.network.block(
        lambda d: (
            (d.source in FAST and d.destination in SPARE)
            or (d.source in SPARE and d.destination in FAST)
        )
    )
    peers.network.block(lambda d: crosses(d, SPARE) and len(d.payload) > 1300)
    peers.meet()
    peers.a.wireguard.send_data_every(0.1, 0.0)
    peers.b.wireguard.send_data_every(0.1, 0.0)
    peers.run(20.0)
    assert not peers.a.host.events_of(PathMtuChanged)

    lift = peers.network.block(lambda d: crosses(d, FAST))
    peers.run(40.0)
    assert peers.a.host.events_of(PathMtuChanged)[-1].limit == 1296
    lift()
    peers.run(120.0)
    assert peers.a.host.events_of(PathMtuChanged)[-1].limit is None


def test_what_our_own_host_refuses_is_no_loss_of_the_path() -> None:
    peers = Peers(data_size=WANTED)
    peers.meet()
    peers.run(MEETING)
    refused = 0
    while peers.network.now < MEETING + 5.0:
        peers.run(peers.network.now + 0.01)
        for sent in list(peers.network.sent):
            datagram = sent.datagram
            if sent.host is peers.a.host and len(datagram.payload) > 1372:
                peers.network.sent.remove(sent)
                peers.a.traversal.not_sent(datagram, "EMSGSIZE", peers.network.now)
                refused += 1

    assert 0 < refused <= 6
    assert peers.a.host.events_of(PathMtuChanged)[-1].limit == 1360
    assert not peers.a.host.events_of(PathLost)


def test_a_probe_is_an_ordinary_check_to_whoever_gets_it() -> None:
    peers = Peers(data_size=WANTED)
    peers.meet()
    peers.run(MEETING + 2.0)
    (probe,) = [s.datagram for s in peers.network.sent_by(peers.a.host) if s.datagram.dont_fragment]
    message = parse(probe.payload)

    assert message.message_class is MessageClass.REQUEST
    assert not message.unknown_required, "an agent that does not know the padding answers it"
    assert message.has_fingerprint
    assert peers.b.traversal.report(A, peers.network.now).path is not None
