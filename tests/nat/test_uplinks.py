"""Peers behind one address, and a host with two uplinks to it."""

from random import Random

from nat.candidate import CandidateType, local_candidate, parse_candidate
from nat.gathering import HostAddress
from nat.machine import Datagram, Endpoint
from nat.path.credentials import IceCredentials, Role
from nat.path.events import Path, PeerId
from nat.path.pair import PairKey
from nat.traversal import Traversal
from nat.uplinks import SharedUplinks
from tests.support.network import Host, SimNetwork, endpoint

FIRST, SECOND = endpoint("192.0.2.10"), endpoint("192.0.2.11")
NEAR, FAR = endpoint("198.51.100.1", 4001), endpoint("198.51.100.1", 4002)
A, B, HUB = PeerId("a"), PeerId("b"), PeerId("hub")


def path(base: Endpoint, remote: Endpoint) -> Path:
    ends = [local_candidate(CandidateType.HOST, end, end) for end in (base, remote)]
    return Path(local=ends[0], base=base, remote=ends[1], data_endpoint=remote)


def test_the_first_peer_decides_for_all_behind_its_address() -> None:
    uplinks = SharedUplinks()

    assert uplinks.select(A, path(SECOND, NEAR)) == frozenset()

    assert uplinks.agrees(B, PairKey(SECOND, FAR))
    assert not uplinks.agrees(B, PairKey(FIRST, FAR))
    assert uplinks.agrees(B, PairKey(FIRST, endpoint("198.51.100.2")))
    assert uplinks.agrees(A, PairKey(FIRST, NEAR)), "alone it may move as it likes"


def test_who_has_no_other_choice_overrules_the_others() -> None:
    uplinks = SharedUplinks()
    uplinks.select(A, path(FIRST, NEAR))
    uplinks.select(B, path(FIRST, FAR))

    assert uplinks.select(B, path(SECOND, FAR)) == {A}

    assert not uplinks.agrees(A, PairKey(FIRST, NEAR))
    assert uplinks.select(A, path(SECOND, NEAR)) == frozenset()


def test_who_is_gone_decides_nothing() -> None:
    uplinks = SharedUplinks()
    uplinks.select(A, path(FIRST, NEAR))
    uplinks.select(B, path(FIRST, FAR))

    uplinks.forget(A)
    uplinks.forget(B)

    assert uplinks.agrees(A, PairKey(SECOND, NEAR))


class Site:
    """A hub with two uplinks, and two hosts that are reached at two ports of one address."""

    def __init__(self) -> None:
        self.hub = self._traversal(FIRST, SECOND)
        self.network = SimNetwork(Host(self.hub, FIRST, SECOND), latency=self._latency)
        for number, (name, at) in enumerate({A: NEAR, B: FAR}.items()):
            spoke = self._traversal(at)
            self.network.add(Host(spoke, at))
            ours, theirs = (f"hub-{name}", "password" * 3), (f"spoke-{name}", "secret" * 4)
            self._add(self.hub, name, IceCredentials(*ours, *theirs), Role.CONTROLLING, spoke)
            self._add(spoke, HUB, IceCredentials(*theirs, *ours), Role.CONTROLLED, self.hub)
            self.network.run(until=number * 5.0 + 5.0)

    def bases(self) -> set[Endpoint]:
        paths = [self.hub.report(peer, self.network.now).path for peer in (A, B)]
        return {path.base for path in paths if path is not None}

    @staticmethod
    def _latency(datagram: Datagram) -> float:
        """The first uplink is the better one to A, and the worse one to B."""
        ends = {datagram.source, datagram.destination}
        return 0.01 if ends in ({FIRST, NEAR}, {SECOND, FAR}) else 0.05

    @staticmethod
    def _traversal(*bases: Endpoint) -> Traversal:
        traversal = Traversal(rng=Random(str(bases)), now=0.0)
        traversal.set_host_addresses([HostAddress(base, "eth0") for base in bases], 0.0)
        return traversal

    def _add(
        self,
        traversal: Traversal,
        peer: PeerId,
        credentials: IceCredentials,
        role: Role,
        other: Traversal,
    ) -> None:
        now = self.network.now
        traversal.add_peer(peer, credentials=credentials, role=role, now=now)
        announced = [parse_candidate(c.to_sdp()) for c in other.local_candidates]
        traversal.set_remote_candidates(peer, announced, now)


def test_two_peers_behind_one_address_take_the_same_uplink() -> None:
    site = Site()

    site.network.run(until=120.0)

    assert len(site.bases()) == 1, "A alone would take the first, B alone the second"


def test_they_move_together_when_it_fails() -> None:
    site = Site()
    site.network.run(until=120.0)

    (failing,) = site.bases()

    site.network.block(lambda d: failing in (d.source, d.destination))
    site.network.run(until=300.0)

    assert site.bases() == {FIRST, SECOND} - {failing}
