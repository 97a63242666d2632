"""The STUN facade: the RFC's own samples, round trips, and hostile input."""

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from aioice import stun as codec
from hypothesis import given
from hypothesis import strategies as st

from nat.errors import StunError
from nat.machine import Endpoint
from nat.stun.message import (
    HEADER_SIZE,
    MAGIC_COOKIE,
    MAX_NOMINATION,
    ErrorCode,
    MessageClass,
    binding_indication,
    binding_request,
    check_request,
    error_response,
    is_stun,
    parse,
    success_response,
)

TRANSACTION = bytes(range(12))
PASSWORD = "a password of thirty-two letters"

# RFC 5769 §2.1, §2.2 and §2.3: the test vectors that RFC 8489 §B refers to.
SAMPLE_PASSWORD = "VOkJxbRl1RmTxUk/WvJxBt"
SAMPLE_REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74"
    "002400046e0001ff80290008932ff9b151263b36000600096576746a3a6836765920202000080014"
    "9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf"
)
SAMPLE_RESPONSE_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f722000200008"
    "0001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96"
)
SAMPLE_RESPONSE_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f722000200014"
    "0002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275"
    "bfe3ed4180280004c8fb0b4c"
)


def check(**changes: object) -> bytes:
    arguments: dict[str, object] = {
        "username": "remote:local",
        "password": PASSWORD,
        "priority": 1_862_270_975,
        "controlling": True,
        "tie_breaker": 2**64 - 1,
    }
    return check_request(TRANSACTION, **(arguments | changes))  # type: ignore[arg-type]  # by name


def raw_message(*attributes: tuple[int, bytes], message_type: int = 0x0001) -> bytes:
    body = b"".join(
        struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)
        for kind, value in attributes
    )
    return struct.pack("!HH", message_type, len(body)) + MAGIC_COOKIE + TRANSACTION + body


def extended(message: bytes, *attributes: tuple[int, bytes]) -> bytes:
    """Append attributes to a message in place of its FINGERPRINT, with a new one at the end."""
    body = message[HEADER_SIZE:-8] + raw_message(*attributes)[HEADER_SIZE:]
    header = message[:2] + struct.pack("!H", len(body)) + message[4:HEADER_SIZE]
    fingerprint = struct.pack("!HHI", 0x8028, 4, codec.message_fingerprint(header + body))
    return codec.set_body_length(header + body + fingerprint, len(body) + 8)


def test_decodes_the_sample_request_of_rfc_5769() -> None:
    message = parse(SAMPLE_REQUEST)

    assert message.message_class is MessageClass.REQUEST
    assert message.username == "evtj:h6vY"
    assert message.priority == 0x6E0001FF
    assert message.controlled == 0x932FF9B151263B36
    assert message.software == "STUN test client"
    assert message.has_fingerprint
    assert message.is_authentic(SAMPLE_PASSWORD)
    assert not message.is_authentic("another password")


@pytest.mark.parametrize(
    ("sample", "mapped"),
    [
        (SAMPLE_RESPONSE_IPV4, Endpoint(IPv4Address("192.0.2.1"), 32853)),
        (
            SAMPLE_RESPONSE_IPV6,
            Endpoint(IPv6Address("2001:db8:1234:5678:11:2233:4455:6677"), 32853),
        ),
    ],
    ids=["IPv4", "IPv6"],
)
def test_decodes_the_sample_responses_of_rfc_5769(sample: bytes, mapped: Endpoint) -> None:
    message = parse(sample)

    assert message.message_class is MessageClass.SUCCESS
    assert message.mapped_address == mapped
    assert message.is_authentic(SAMPLE_PASSWORD)


@given(
    priority=st.integers(0, 2**32 - 1),
    tie_breaker=st.integers(0, 2**64 - 1),
    controlling=st.booleans(),
    use_candidate=st.booleans(),
    nomination=st.none() | st.integers(0, MAX_NOMINATION),
)
def test_a_check_survives_the_round_trip(
    priority: int, tie_breaker: int, controlling: bool, use_candidate: bool, nomination: int | None
) -> None:
    message = parse(
        check(
            priority=priority,
            tie_breaker=tie_breaker,
            controlling=controlling,
            use_candidate=use_candidate,
            nomination=nomination,
        )
    )

    assert message.message_class is MessageClass.REQUEST
    assert message.transaction_id == TRANSACTION
    assert message.username == "remote:local"
    assert message.priority == priority
    assert (message.controlling, message.controlled) == (
        (tie_breaker, None) if controlling else (None, tie_breaker)
    )
    assert message.use_candidate is use_candidate
    assert message.nomination == nomination
    assert message.has_fingerprint
    assert message.is_authentic(PASSWORD)


@given(
    ip=st.ip_addresses(),
    port=st.integers(0, 65535),
    nomination=st.none() | st.integers(0, 2**24 - 1),
)
def test_a_success_response_survives_the_round_trip(
    ip: IPv4Address | IPv6Address, port: int, nomination: int | None
) -> None:
    mapped = Endpoint(ip, port)

    message = parse(success_response(TRANSACTION, mapped, password=PASSWORD, nomination=nomination))

    assert message.message_class is MessageClass.SUCCESS
    assert message.mapped_address == mapped
    assert message.nomination == nomination
    assert message.is_authentic(PASSWORD)


@pytest.mark.parametrize("error", list(ErrorCode))
def test_an_error_response_survives_the_round_trip(error: ErrorCode) -> None:
    payload = error_response(TRANSACTION, error, password=PASSWORD, unknown=[0x7777, 0x0031, 0x2])

    message = parse(payload)

    assert message.message_class is MessageClass.ERROR
    assert message.error_code == error.value[0]
    assert message.unknown_required == ()
    assert struct.pack("!HH3H", 0x000A, 6, 0x7777, 0x0031, 0x2) in payload


@pytest.mark.parametrize(
    ("payload", "message_class"),
    [
        (binding_request(TRANSACTION), MessageClass.REQUEST),
        (binding_indication(TRANSACTION), MessageClass.INDICATION),
    ],
)
def test_plain_messages_have_a_fingerprint_and_no_integrity(
    payload: bytes, message_class: MessageClass
) -> None:
    message = parse(payload)

    assert message.message_class is message_class
    assert message.has_fingerprint
    assert not message.is_authentic("")


def test_aioice_decodes_what_we_encode() -> None:
    message = codec.parse_message(check(use_candidate=True, nomination=7))

    assert message.attributes["USERNAME"] == "remote:local"
    assert message.attributes["ICE-CONTROLLING"] == 2**64 - 1
    assert "USE-CANDIDATE" in message.attributes
    assert message.check_message_integrity(PASSWORD.encode())


def test_a_message_without_integrity_is_never_authentic() -> None:
    unsigned = parse(check(password=None))

    assert unsigned.username == "remote:local"
    assert not unsigned.is_authentic(PASSWORD)
    assert not unsigned.is_authentic("")


@pytest.mark.parametrize("digest", [b"", bytes(19), bytes(20), bytes(32)])
def test_integrity_of_any_size_may_be_wrong_without_harm(digest: bytes) -> None:
    assert not parse(raw_message((0x0008, digest))).is_authentic(PASSWORD)


def test_attributes_after_integrity_are_not_seen() -> None:
    forged = extended(check(), (0x0025, b""), (0xC001, struct.pack("!I", 99)), (0x7777, b""))

    message = parse(forged)

    assert message.is_authentic(PASSWORD)
    assert not message.use_candidate
    assert message.nomination is None
    assert message.unknown_required == ()


def test_the_first_of_two_equal_attributes_counts() -> None:
    message = parse(raw_message((0x0006, b"first"), (0x0006, b"second")))

    assert message.username == "first"


def test_reports_unknown_required_attributes_and_ignores_optional_ones() -> None:
    message = parse(raw_message((0x0003, bytes(4)), (0x7777, b"x"), (0x9999, b"y")))

    assert message.unknown_required == (0x0003, 0x7777)


def test_the_reserved_bits_of_a_nomination_are_ignored() -> None:
    assert parse(raw_message((0xC001, b"\xff\x00\x00\x05"))).nomination == 5


def test_xor_mapped_address_wins_over_mapped_address_wherever_it_stands() -> None:
    plain = (0x0001, codec.pack_address(("192.0.2.1", 1)))
    xored = (0x0020, codec.pack_xor_address(("192.0.2.2", 2), TRANSACTION))

    for attributes in ([plain, xored], [xored, plain]):
        message = parse(raw_message(*attributes, message_type=0x0101))

        assert message.mapped_address == Endpoint(IPv4Address("192.0.2.2"), 2)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "no STUN header"),
        (bytes(20), "no STUN header"),
        (raw_message(message_type=0x0003), "method 0x3"),
        (raw_message((0x0024, b"\0")), "malformed"),
        (raw_message((0x0024, bytes(8))), "malformed"),
        (raw_message((0x8029, bytes(4))), "malformed"),
        (raw_message((0x0006, b"\xff")), "malformed"),
        (raw_message((0x0006, bytes(509))), "malformed"),
        (raw_message((0x0020, bytes(3))), "malformed"),
        (raw_message((0x0009, bytes(2))), "malformed"),
        (raw_message((0x8028, bytes(4))), "wrong FINGERPRINT"),
        (raw_message((0x8028, bytes(4)), (0x8022, b"")), "not the last"),
        (raw_message((0x0006, b"abcd"))[:-4].replace(b"\0\x08\x21", b"\0\x04\x21"), "past the end"),
        (struct.pack("!HH", 1, 2) + MAGIC_COOKIE + TRANSACTION + b"\0\0", "truncated"),
    ],
)
def test_rejects_what_is_malformed(payload: bytes, reason: str) -> None:
    with pytest.raises(StunError, match=reason):
        parse(payload)


KNOWN_TYPES = st.sampled_from(
    [0x0001, 0x0006, 0x0008, 0x0009, 0x000A, 0x0020, 0x0024, 0x0025, 0x8022, 0x8028, 0x802A, 0xC001]
)


@st.composite
def stun_like(draw: st.DrawFn) -> bytes:
    """Datagrams with a sound header and attributes of any size."""
    attributes = draw(st.lists(st.tuples(KNOWN_TYPES, st.binary(max_size=24)), max_size=4))
    message_type = draw(st.sampled_from([0x0001, 0x0011, 0x0101, 0x0111, 0x0FFF]))
    return raw_message(*attributes, message_type=message_type)


@given(stun_like() | st.binary(max_size=96))
def test_parse_raises_nothing_but_stun_error(payload: bytes) -> None:
    try:
        parse(payload)
    except StunError:
        pass


LENGTH_FIELD = (2, 3)
"""Positions of the header's length, which a forger would make right again."""


@given(
    position=st.integers(0, len(check()) - 9).filter(lambda at: at not in LENGTH_FIELD),
    flip=st.integers(1, 255),
)
def test_no_changed_byte_passes_for_authentic(position: int, flip: int) -> None:
    forged = bytearray(check())
    forged[position] ^= flip

    try:
        message = parse(extended(bytes(forged)))
    except StunError:
        return

    assert message.is_authentic(PASSWORD) is False


@pytest.mark.parametrize(("message_type", "size"), [(1, 148), (2, 92), (3, 64), (4, 32)])
def test_wireguard_is_not_stun_even_if_its_index_is_the_cookie(
    message_type: int, size: int
) -> None:
    payload = bytes([message_type, 0, 0, 0]) + MAGIC_COOKIE

    assert not is_stun(payload.ljust(size, b"\0"))
