"""PCP and NAT-PMP on the wire, byte by byte as the RFCs draw them."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nat.candidate import is_private_address
from nat.errors import PortMappingError
from nat.machine import Endpoint
from nat.portmap import natpmp, pcp
from nat.portmap.values import Granted, Refused, believable

NONCE = bytes(range(12))
INSIDE = IPv4Address("192.168.1.2")


def test_a_pcp_map_request_is_as_rfc_6887_section_11_1_draws_it() -> None:
    suggested = Endpoint(IPv4Address("203.0.113.9"), 0x1234)

    request = pcp.map_request(INSIDE, NONCE, 0xCAFE, suggested, 7200)

    assert request == bytes.fromhex(
        "02010000 00001c20 00000000 00000000 0000ffff c0a80102"
        "000102030405060708090a0b 11000000 cafe 1234 00000000 00000000 0000ffff cb007109"
    )


def test_without_a_preference_the_address_is_the_mapped_form_of_zero() -> None:
    nowhere = Endpoint(pcp.unspecified(4), 0)

    assert pcp.map_request(INSIDE, NONCE, 1, nowhere, 0)[-16:] == bytes.fromhex(
        "00000000 00000000 0000ffff 00000000"
    )


def test_an_announce_request_is_a_header_alone() -> None:
    request = pcp.announce_request(IPv6Address("2001:db8::1"))

    assert request == bytes.fromhex("02000000 00000000 20010db8 00000000 00000000 00000001")


def test_a_pcp_map_response_is_decoded() -> None:
    response = pcp.parse(
        bytes.fromhex(
            "02810000 00000e10 0000002a 000000000000000000000000"
            "000102030405060708090a0b 11000000 cafe 1234 00000000 00000000 0000ffff cb007109"
        )
    )

    assert (response.opcode, response.result, response.lifetime, response.epoch) == (1, 0, 3600, 42)
    assert response.fields == pcp.MapFields(
        NONCE, 17, 0xCAFE, Endpoint(IPv4Address("203.0.113.9"), 0x1234)
    )


def test_a_refused_version_tells_the_version_that_is_spoken() -> None:
    response = pcp.parse(bytes.fromhex("01810001 00000e10 0000002a 000000000000000000000000"))

    assert (response.version, response.result) == (1, pcp.Result.UNSUPP_VERSION)


@pytest.mark.parametrize("size", [0, 4, 23, 25, 1104])
def test_no_pcp_message_has_such_a_size(size: int) -> None:
    with pytest.raises(PortMappingError):
        pcp.parse(b"\x02\x81".ljust(size, b"\0")[:size])


def test_a_request_is_no_response() -> None:
    with pytest.raises(PortMappingError):
        pcp.parse(pcp.announce_request(INSIDE))
    with pytest.raises(PortMappingError):
        natpmp.parse(natpmp.map_request(1, 2, 3))


def test_natpmp_messages_are_as_rfc_6886_draws_them() -> None:
    assert natpmp.public_address_request() == bytes.fromhex("0000")
    assert natpmp.map_request(0xCAFE, 0x1234, 7200) == bytes.fromhex("00010000 cafe1234 00001c20")

    public = natpmp.parse(bytes.fromhex("00800000 0000002a cb007109"))
    mapped = natpmp.parse(bytes.fromhex("00810000 0000002b cafe1234 00000e10"))
    refused = natpmp.parse(bytes.fromhex("00810002 0000002c"))

    assert (public.public, public.epoch) == (ip_address("203.0.113.9"), 42)
    assert (mapped.internal_port, mapped.external_port, mapped.lifetime) == (0xCAFE, 0x1234, 3600)
    assert natpmp.describe(refused.result) == "NOT_AUTHORIZED"


@given(st.binary(max_size=1200))
def test_any_bytes_are_a_value_or_the_package_s_error(payload: bytes) -> None:
    for parse in (pcp.parse, natpmp.parse):
        try:
            parse(payload)
        except PortMappingError:
            pass


@pytest.mark.parametrize(
    ("external", "lifetime"),
    [
        ("0.0.0.0:5", 3600),
        ("127.0.0.1:5", 3600),
        ("224.0.0.1:5", 3600),
        ("255.255.255.255:5", 3600),
        ("169.254.1.1:5", 3600),
        ("203.0.113.9:0", 3600),
        ("203.0.113.9:5", 0),
        ("203.0.113.9:5", 59),
        ("[2001:db8::1]:5", 3600),
    ],
)
def test_absurd_grants_are_refused(external: str, lifetime: int) -> None:
    host, _, port = external.rpartition(":")
    granted = Granted(Endpoint(ip_address(host.strip("[]")), int(port)), lifetime)

    assert isinstance(believable(granted, Endpoint(INSIDE, 5)), Refused)


def test_a_lifetime_beyond_a_day_is_a_day() -> None:
    granted = Granted(Endpoint(IPv4Address("203.0.113.9"), 5), 2**32 - 1)

    assert believable(granted, Endpoint(INSIDE, 5)) == Granted(granted.external, 86400.0)


def test_an_external_address_behind_another_nat_is_kept_and_known_as_such() -> None:
    granted = Granted(Endpoint(IPv4Address("100.64.3.4"), 5), 3600)

    assert believable(granted, Endpoint(INSIDE, 5)) == granted
    assert is_private_address(granted.external.ip)
    assert not is_private_address(IPv4Address("203.0.113.9"))
