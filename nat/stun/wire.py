"""STUN messages as bytes (RFC 8489 §5, §14): what the messages of all methods have in common.

The walk over a message is ours, not aioice's, because anybody may send us anything: nothing but
`StunError` leaves `walk`, and what MESSAGE-INTEGRITY does not cover is never seen.
"""

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final

from ..errors import StunError
from . import attributes
from .attributes import HEADER_SIZE, MAGIC_COOKIE, Attribute, TransactionId

TYPE_BITS: Final = 0xC0
"""Bits of the first byte that are zero in STUN (RFC 8489 §5); ChannelData has the second set."""

METHOD_BITS: Final = 0x3EEF
"""Bits of the message type that are the method (RFC 8489 §5)."""


class Method(IntEnum):
    """Methods (RFC 8489 §18.2, RFC 8656 §17)."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009

    @property
    def needs_credentials(self) -> bool:
        """Whether a server asks for long-term credentials (RFC 8656 §5): for all but Binding."""
        return self is not Method.BINDING


class MessageClass(Enum):
    """Class bits of the message type (RFC 8489 §5)."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


@dataclass(frozen=True, slots=True)
class Integrity:
    """A MESSAGE-INTEGRITY and the bytes before it, which it protects."""

    protected: bytes
    digest: bytes

    def matches(self, key: bytes) -> bool:
        """Tell whether it was made with `key` (RFC 8489 §14.5)."""
        return hmac.compare_digest(attributes.integrity(self.protected, key), self.digest)


@dataclass(slots=True)
class Walked:
    """A message whose frame is sound; the values of its attributes are not looked into.

    Attributes:
        method: the number of the method, known or not.
        values: (type, value) in their order, up to MESSAGE-INTEGRITY.
        has_fingerprint: whether a FINGERPRINT was there (and right).
    """

    method: int
    message_class: MessageClass
    transaction_id: TransactionId
    values: list[tuple[int, bytes]] = field(default_factory=list)
    has_fingerprint: bool = False
    integrity: Integrity | None = None


def is_stun(payload: bytes) -> bool:
    """Tell STUN from WireGuard and ChannelData on a shared port (RFC 8489 §6.3, RFC 7983 §7).

    WireGuard's type and reserved bytes read as a STUN length of 0, and no WireGuard message
    is 20 bytes long, so the length tells them apart even if an index equals the cookie.
    """
    return (
        len(payload) >= HEADER_SIZE
        and payload[0] & TYPE_BITS == 0
        and payload[4:8] == MAGIC_COOKIE
        and int.from_bytes(payload[2:4], "big") == len(payload) - HEADER_SIZE
    )


def walk(payload: bytes) -> Walked:
    """Take a message apart.

    Raises:
        StunError: not STUN, an attribute that does not fit, or a wrong FINGERPRINT
            (RFC 8489 §6.3, §14.7).
    """
    if not is_stun(payload):
        raise StunError("no STUN header")
    (message_type,) = struct.unpack_from("!H", payload)
    walked = Walked(
        message_type & METHOD_BITS,
        MessageClass(message_type & ~METHOD_BITS),
        payload[8:HEADER_SIZE],
    )
    position, end = HEADER_SIZE, len(payload)
    while position < end:
        if position + 4 > end:
            raise StunError("truncated attribute header")
        kind, size = struct.unpack_from("!HH", payload, position)
        following = position + 4 + attributes.padded(size)
        if following > end:
            raise StunError("attribute runs past the end of the message")
        value = payload[position + 4 : position + 4 + size]
        if kind == Attribute.FINGERPRINT:
            if following != end:
                raise StunError("FINGERPRINT is not the last attribute")
            if value != attributes.fingerprint(payload[:position]):
                raise StunError("wrong FINGERPRINT")
            walked.has_fingerprint = True
        elif walked.integrity is not None:
            pass  # not protected, so not looked at (RFC 8489 §14.5)
        elif kind == Attribute.MESSAGE_INTEGRITY:
            walked.integrity = Integrity(payload[:position], value)
        else:
            walked.values.append((kind, value))
        position = following
    return walked


def encode(
    method: Method,
    message_class: MessageClass,
    transaction_id: TransactionId,
    values: Iterable[tuple[Attribute, bytes]],
    key: bytes | None = None,
) -> bytes:
    """Put a message together; `key` protects it, FINGERPRINT ends it.

    Args:
        method: the method.
        message_class: request, indication, success or error response.
        transaction_id: what a response has in common with its request.
        values: (type, value) in their order.
        key: of MESSAGE-INTEGRITY (RFC 8489 §9.1.1, §9.2.2); `None`: without it.
    """
    kind = method | message_class.value
    body = b"".join(attributes.encode(attribute, value) for attribute, value in values)
    message = _header(kind, transaction_id, len(body)) + body
    if key is not None:
        digest = attributes.integrity(message, key)
        message += attributes.encode(Attribute.MESSAGE_INTEGRITY, digest)
    message += attributes.encode(Attribute.FINGERPRINT, attributes.fingerprint(message))
    return _header(kind, transaction_id, len(message) - HEADER_SIZE) + message[HEADER_SIZE:]


def _header(message_type: int, transaction_id: TransactionId, size: int) -> bytes:
    return struct.pack("!HH", message_type, size) + MAGIC_COOKIE + transaction_id
