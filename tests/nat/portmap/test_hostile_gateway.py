"""What a gateway, or who plays it, may not bring about."""

import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from nat.machine import Datagram, Endpoint
from nat.portmap.events import (
    MapperState,
)
from nat.portmap.values import Refused

from ...support.gateway import Gateway
from ...support.port_mapping import LOCAL, Home


def test_answers_from_elsewhere_or_with_another_nonce_are_dropped() -> None:
    home = Home(Gateway(online=False))
    request = home.sent[0][1]
    home.gateway.online = True
    (answer,) = home.gateway.answer(request, 0.0)
    elsewhere = Datagram(Endpoint(ip_address("192.168.1.66"), 5351), LOCAL, answer.payload)
    payload = bytearray(answer.payload)
    payload[24] ^= 1
    other_nonce = Datagram(answer.source, LOCAL, bytes(payload))
    payload[24] ^= 1
    struct.pack_into("!H", payload, 40, 20001)
    other_port = Datagram(answer.source, LOCAL, bytes(payload))

    for forged in (elsewhere, other_nonce, other_port):
        home.mapper.receive_datagram(forged, 0.0)

    assert home.mapper.external is None
    assert home.mapper.ignored == {
        "not from the gateway": 1,
        "answer to nothing that was asked": 2,
    }


def test_a_gateway_that_refuses_versions_for_ever_is_not_answered_for_ever() -> None:
    home = Home(Gateway(pcp=False, natpmp_result=1), upnp=Refused("no"))
    home.run(50.0)

    assert len(home.sent) <= 4
    assert home.state is MapperState.RESTING


@given(st.lists(st.binary(max_size=80), max_size=8), st.booleans())
def test_any_bytes_of_the_gateway_raise_nothing_and_bound_what_is_sent(
    payloads: list[bytes], mapped: bool
) -> None:
    home = Home(Gateway(online=mapped))
    for payload in payloads:
        home.mapper.receive_datagram(Datagram(home.gateway.endpoint, LOCAL, payload), home.now)
        home.settle()

    assert len(home.sent) <= 4 + len(payloads)
