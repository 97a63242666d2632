"""The agents of one port: whom a message concerns, and what all of them wish of it together."""

import math
from ipaddress import ip_address
from random import Random

import pytest

from nat.candidate import CandidateType, local_candidate
from nat.machine import Datagram, Endpoint
from nat.pacer import Pacer
from nat.path.agents import PathAgents
from nat.path.credentials import IceCredentials, Role
from nat.path.events import PathLost, PeerId
from nat.path.pair import PairKey
from nat.path.telling import PathEvent
from nat.stun.message import MessageClass, StunMessage, check_request, parse
from tests.support.network import endpoint

BASE = endpoint("198.51.100.1", 51820)
LOCAL = [local_candidate(CandidateType.HOST, BASE, BASE)]
RELAYED = endpoint("203.0.113.50", 50000)
B, C = PeerId("b"), PeerId("c")


def far_end(number: int) -> Endpoint:
    return Endpoint(ip_address(f"198.51.100.{number}"), 51820)


class Port:
    """Two agents, for b and c, on one port."""

    def __init__(self) -> None:
        self.events: list[PathEvent] = []
        self.pacer = Pacer(now=0.0)
        self.pacer_now = 0.0
        self.agents = PathAgents(
            rng=Random(1),
            pacer=self.pacer,
            may_send_to=lambda ip: True,
            is_steady=lambda base: False,
            data_size=None,
            on_event=self.events.append,
        )
        self.add(B)
        self.add(C)
        self.announce(B, far_end(2))
        self.announce(C, far_end(3))

    def hear(self, peer: PeerId, key: PairKey) -> None:
        """Let a check of a peer come in."""
        self.agents.receive(peer, check_for(peer), Datagram(key.remote, key.base, b""), 0.0)

    def answered(self, peer: PeerId) -> bool:
        """Whether a peer's check has been answered since the last look."""
        self.pacer_now += 1.0
        payloads = [parse(d.payload) for d in self.pacer.release(self.pacer_now)]
        return any(m.message_class is MessageClass.SUCCESS for m in payloads)

    def announce(self, peer: PeerId, there: Endpoint) -> None:
        remote = [local_candidate(CandidateType.HOST, there, there)]
        self.agents.change(peer, lambda agent: agent.set_remote_candidates(remote, 0.0), 0.0)

    def add(self, peer: PeerId) -> None:
        self.agents.add(
            peer,
            credentials=IceCredentials(f"to{peer}", "local" * 5, f"of{peer}", "remote" * 5),
            role=Role.CONTROLLING,
            candidates=LOCAL,
            take_early=lambda ufrag: (),
            now=0.0,
        )

    def sent(self) -> list[Datagram]:
        return self.pacer.release(0.0)


def check_for(peer: PeerId) -> StunMessage:
    payload = check_request(
        bytes(12),
        username=f"to{peer}:of{peer}",
        password="local" * 5,
        priority=1,
        controlling=False,
        tie_breaker=0,
    )
    return parse(payload)


def test_a_request_is_for_whom_its_ufrag_names_and_a_response_for_who_asked() -> None:
    port = Port()
    asked = {datagram.destination: parse(datagram.payload) for datagram in port.sent()}

    assert port.agents.addressee(check_for(B)) == B
    assert port.agents.addressee(check_for(C)) == C
    assert port.agents.addressee(check_for(PeerId("nobody"))) is None

    port.agents.not_sent(asked[far_end(3)], "no way", 0.0)
    errors = {peer: port.agents.report(peer, 0.0).pairs[0].error for peer in (B, C)}
    assert errors == {B: None, C: "no way"}, "the transaction is known to be of c"


def test_a_peer_or_its_ufrag_is_there_once() -> None:
    port = Port()

    with pytest.raises(ValueError, match="b is there already"):
        port.add(B)
    assert list(port.agents) == [B, C]


def test_a_peer_that_is_removed_is_nobodys_and_sends_nothing_more() -> None:
    port = Port()

    port.agents.remove(B, 0.0)

    assert list(port.agents) == [C]
    assert port.agents.addressee(check_for(B)) is None
    assert {datagram.destination for datagram in port.sent()} == {far_end(3)}
    assert not [event for event in port.events if isinstance(event, PathLost)], "it had no path"
    with pytest.raises(KeyError):
        port.agents.report(B, 0.0)


def test_without_peers_nothing_is_pending() -> None:
    port = Port()
    assert port.agents.next_timeout() < math.inf

    port.agents.remove(B, 0.0)
    port.agents.remove(C, 0.0)

    assert port.agents.next_timeout() == math.inf


def test_whoever_comes_to_an_address_that_a_channel_leads_to_already_has_it_too() -> None:
    port, there, loopback = Port(), far_end(9), endpoint("127.0.0.1", 40001)
    key = PairKey(RELAYED, there)
    ours = [*LOCAL, local_candidate(CandidateType.RELAYED, RELAYED, RELAYED)]
    port.agents.set_local_candidates(ours, 0.0)
    for peer in (B, C):
        port.announce(peer, there)
    port.hear(B, key)
    assert not port.answered(B), "its data could not take the pair yet"
    port.agents.plug(key, loopback, 0.0)
    assert port.answered(B)

    # Another device of the same host, whose first one died without a word.
    port.hear(C, key)
    assert port.answered(C)

    port.agents.unplug(key, 0.0)
    port.agents.remove(B, 0.0)
    port.add(B)
    port.agents.set_local_candidates(ours, 0.0)
    port.announce(B, there)
    port.hear(B, key)
    assert not port.answered(B), "what is unplugged is nobody's"
