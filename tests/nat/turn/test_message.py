"""TURN messages: what RFC 8656 §18 says of their bytes, and what strangers may send."""

from ipaddress import ip_address

import pytest
from aioice import stun as aioice
from hypothesis import given
from hypothesis import strategies as st

from nat.errors import StunError
from nat.machine import Endpoint
from nat.stun import attributes
from nat.stun.attributes import Attribute
from nat.stun.wire import MessageClass, Method, encode
from nat.turn import message as turn
from nat.turn.authentication import long_term_key
from nat.turn.message import Family, parse, send_indication
from nat.turn.requests import Allocate, Bind, Families, Measure, Permit, Refresh, Release, describe
from nat.turn.server import Login

TRANSACTION = bytes(range(12))
PEER = Endpoint(ip_address("192.0.2.150"), 32102)
V6 = Endpoint(ip_address("2001:db8::1"), 32102)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_stun_error(payload: bytes) -> None:
    try:
        parse(payload)
    except StunError:
        pass


@given(
    st.sampled_from(list(Method)),
    st.sampled_from(list(MessageClass)),
    st.lists(st.tuples(st.sampled_from(list(Attribute)), st.binary(max_size=40)), max_size=8),
)
def test_any_attributes_are_a_message_or_a_stun_error(
    method: Method, message_class: MessageClass, values: list[tuple[Attribute, bytes]]
) -> None:
    try:
        parse(encode(method, message_class, TRANSACTION, values))
    except StunError:
        pass


@pytest.mark.parametrize("peer", [PEER, V6])
def test_a_send_indication_comes_back_as_it_was(peer: Endpoint) -> None:
    message = parse(send_indication(TRANSACTION, peer, b"data"))

    assert (message.method, message.message_class) == (Method.SEND, MessageClass.INDICATION)
    assert (message.peers, message.data) == ((peer,), b"data")


@pytest.mark.parametrize(
    "request_value",
    [
        Measure(),
        Refresh(),
        Release(),
        Permit((PEER.ip, V6.ip)),
        Bind(V6, 0x4001),
        *[Allocate(families) for families in Families],
    ],
)
def test_aioice_decodes_what_we_ask(request_value: object) -> None:
    method, values = describe(request_value, TRANSACTION)  # type: ignore[arg-type]
    # aioice knows neither of these two.
    values = [v for v in values if v[0] not in (0x0017, 0x8000)]

    decoded = aioice.parse_message(encode(method, MessageClass.REQUEST, TRANSACTION, values))

    assert decoded.message_method.value == method.value


def test_what_is_asked_stands_in_the_attributes() -> None:
    def asked(request: Allocate | Permit | Bind | Release) -> turn.TurnMessage:
        method, values = describe(request, TRANSACTION)
        return parse(encode(method, MessageClass.REQUEST, TRANSACTION, values))

    assert asked(Allocate(Families.BOTH)).additional_family == Family.IPV6
    assert asked(Allocate(Families.BOTH)).requested_transport == turn.UDP_PROTOCOL
    assert asked(Allocate(Families.IPV6)).requested_family == Family.IPV6
    assert asked(Allocate(Families.DEFAULT)).requested_family is None
    assert [peer.ip for peer in asked(Permit((PEER.ip, V6.ip))).peers] == [PEER.ip, V6.ip]
    assert asked(Bind(PEER, 0x4000)).channel == 0x4000
    assert asked(Release()).lifetime == 0


def test_both_relayed_addresses_of_an_allocation_are_seen() -> None:
    values = [
        (Attribute.XOR_RELAYED_ADDRESS, attributes.xor_address(endpoint, TRANSACTION))
        for endpoint in (PEER, V6)
    ]

    message = parse(encode(Method.ALLOCATE, MessageClass.SUCCESS, TRANSACTION, values))

    assert message.relayed == (PEER, V6)


def test_the_long_term_key_is_that_of_the_rfc() -> None:
    # RFC 8489 §9.2.2: user 'user', realm 'realm', password 'pass'.
    assert long_term_key(Login("user", "pass"), "realm").hex() == "8493fbc53ba582fb4c044c456bdc40eb"


def test_an_unknown_required_attribute_is_reported() -> None:
    payload = encode(Method.DATA, MessageClass.INDICATION, TRANSACTION, [(0x7FFF, b"")])  # type: ignore[list-item]

    assert parse(payload).unknown_required == (0x7FFF,)


def test_another_method_is_refused() -> None:
    payload = encode(0x00A, MessageClass.REQUEST, TRANSACTION, [])  # type: ignore[arg-type]

    with pytest.raises(StunError, match="method 0xa"):
        parse(payload)
