"""Attributes of STUN (RFC 8489 §14), ICE (RFC 8445 §16.1) and TURN (RFC 8656 §18).

The only user of `aioice.stun`.

aioice supplies the codecs of values, MESSAGE-INTEGRITY and FINGERPRINT. Its parser is not used:
see `nat.stun.message`.
"""

import struct
from collections.abc import Callable
from enum import IntEnum
from ipaddress import ip_address
from typing import Any, Final

from aioice import stun as codec

from ..errors import StunError
from ..machine import Endpoint

MAGIC_COOKIE: Final = struct.pack("!I", codec.COOKIE)
"""Second word of every STUN message (RFC 8489 §5)."""

HEADER_SIZE: Final = codec.HEADER_LENGTH
"""Bytes before the first attribute (RFC 8489 §5)."""

MAX_NOMINATION: Final = 2**24 - 1
"""Largest nomination value (draft-thatcher-ice-renomination §4: 24 bits)."""

MAX_USERNAME_SIZE: Final = 508
"""Bytes of a USERNAME (RFC 8489 §14.3: fewer than 509)."""

OPTIONAL: Final = 0x8000
"""Attributes from here on may be ignored by who does not know them (RFC 8489 §14)."""

TransactionId = bytes


class Attribute(IntEnum):
    """Types of the attributes that we know."""

    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    REQUESTED_TRANSPORT = 0x0019
    XOR_MAPPED_ADDRESS = 0x0020
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    ADDITIONAL_ADDRESS_FAMILY = 0x8000
    ALTERNATE_DOMAIN = 0x8003
    SOFTWARE = 0x8022
    OTHER_ADDRESS = 0x802C
    ALTERNATE_SERVER = 0x8023
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A
    NOMINATION = 0xC001
    PROBE_PADDING = 0xC0B0
    """Ours, comprehension-optional: makes a check as long as the path is to be wide. RFC 5780's
    PADDING is comprehension-required and asks for a padded answer, which would test both ways."""


def decode(kind: int, value: bytes, transaction_id: TransactionId) -> Any:
    """Decode the value of one of the `DECODED` attributes.

    Raises:
        StunError: the value is malformed.
    """
    try:
        return DECODED[kind][1](value, transaction_id)
    except (ValueError, struct.error) as error:
        raise StunError(f"malformed attribute {kind:#06x}: {error}") from error


def encode(kind: Attribute, value: bytes) -> bytes:
    """Encode an attribute: type, length, value, padding (RFC 8489 §14)."""
    return struct.pack("!HH", kind, len(value)) + value + bytes(codec.padding_length(len(value)))


def padded(size: int) -> int:
    """Return how many bytes a value of `size` bytes takes."""
    return size + codec.padding_length(size)


def text(value: str) -> bytes:
    """Encode UTF-8."""
    return codec.pack_string(value)


def unsigned(value: int) -> bytes:
    """Encode 32 bits."""
    return codec.pack_unsigned(value)


def unsigned_64(value: int) -> bytes:
    """Encode 64 bits."""
    return codec.pack_unsigned_64(value)


def xor_address(endpoint: Endpoint, transaction_id: TransactionId) -> bytes:
    """Encode XOR-MAPPED-ADDRESS (RFC 8489 §14.2)."""
    return codec.pack_xor_address((str(endpoint.ip), endpoint.port), transaction_id)


def error_code(code: int, reason: str) -> bytes:
    """Encode ERROR-CODE (RFC 8489 §14.8)."""
    return codec.pack_error_code((code, reason))


def attribute_types(kinds: list[int]) -> bytes:
    """Encode UNKNOWN-ATTRIBUTES (RFC 8489 §14.13)."""
    return struct.pack(f"!{len(kinds)}H", *kinds)


def integrity(message: bytes, key: bytes) -> bytes:
    """Return MESSAGE-INTEGRITY of a message that ends before it (RFC 8489 §14.5)."""
    return codec.message_integrity(message, key)


def fingerprint(message: bytes) -> bytes:
    """Return FINGERPRINT of a message that ends before it (RFC 8489 §14.7)."""
    return codec.pack_unsigned(codec.message_fingerprint(message))


def _username(value: bytes, _: TransactionId) -> str:
    if len(value) > MAX_USERNAME_SIZE:
        raise ValueError("USERNAME is too long")
    return value.decode()


def read_unsigned(value: bytes, _: TransactionId) -> int:
    """Decode 32 bits."""
    return codec.unpack_unsigned(value)


def _unsigned_64(value: bytes, _: TransactionId) -> int:
    return codec.unpack_unsigned_64(value)


def _nomination(value: bytes, _: TransactionId) -> int:
    # The upper 8 bits are reserved: ignored by a receiver.
    return codec.unpack_unsigned(value) & MAX_NOMINATION


def read_error_code(value: bytes, _: TransactionId) -> int:
    """Decode ERROR-CODE (RFC 8489 §14.8)."""
    return codec.unpack_error_code(value)[0]


def read_address(value: bytes, _: TransactionId) -> Endpoint:
    """Decode MAPPED-ADDRESS and what looks like it (RFC 8489 §14.1, §14.15)."""
    ip, port = codec.unpack_address(value)
    return Endpoint(ip_address(ip), port)


def read_xor_address(value: bytes, transaction_id: TransactionId) -> Endpoint:
    """Decode XOR-MAPPED-ADDRESS and what looks like it (RFC 8489 §14.2, RFC 8656 §18.3)."""
    ip, port = codec.unpack_xor_address(value, transaction_id)
    return Endpoint(ip_address(ip), port)


DECODED: Final[dict[int, tuple[str, Callable[[bytes, TransactionId], Any]]]] = {
    Attribute.MAPPED_ADDRESS: ("mapped_address", read_address),
    Attribute.XOR_MAPPED_ADDRESS: ("mapped_address", read_xor_address),
    Attribute.OTHER_ADDRESS: ("other_address", read_address),
    Attribute.USERNAME: ("username", _username),
    Attribute.ERROR_CODE: ("error_code", read_error_code),
    Attribute.PRIORITY: ("priority", read_unsigned),
    Attribute.USE_CANDIDATE: ("use_candidate", lambda value, _: True),
    Attribute.NOMINATION: ("nomination", _nomination),
    Attribute.ICE_CONTROLLING: ("controlling", _unsigned_64),
    Attribute.ICE_CONTROLLED: ("controlled", _unsigned_64),
    Attribute.SOFTWARE: ("software", lambda value, _: value.decode(errors="replace")),
}
"""Attribute -> the field of `StunMessage` that holds it, and its decoder."""

UNUSED: Final = frozenset({Attribute.UNKNOWN_ATTRIBUTES, Attribute.REALM, Attribute.NONCE})
"""Known, so no reason for a 420; nothing here needs their values."""
