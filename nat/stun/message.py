"""STUN messages (RFC 8489) of connectivity checks (RFC 8445 §7) and Binding transactions.

The walk over a message is ours, not aioice's, because a shared port receives anything from anybody: nothing but
`StunError` leaves `parse`, and what MESSAGE-INTEGRITY does not cover is never seen.
"""

import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ..errors import StunError
from ..machine import Endpoint
from . import attributes
from .attributes import HEADER_SIZE, MAGIC_COOKIE, MAX_NOMINATION, Attribute, TransactionId

__all__ = [
    "HEADER_SIZE",
    "MAGIC_COOKIE",
    "MAX_NOMINATION",
    "TRANSACTION_ID_SIZE",
    "ErrorCode",
    "MessageClass",
    "StunMessage",
    "TransactionId",
    "binding_indication",
    "binding_request",
    "check_request",
    "error_response",
    "is_stun",
    "parse",
    "success_response",
]

TRANSACTION_ID_SIZE: Final = 12
"""Bytes of a transaction id (RFC 8489 §5: 96 bits)."""

TYPE_BITS: Final = 0xC0
"""Bits of the first byte that are zero in STUN (RFC 8489 §5); ChannelData has the second set."""

BINDING: Final = 0x001
"""The only method here (RFC 8489 §18.2)."""


class MessageClass(Enum):
    """Class bits of the message type (RFC 8489 §5)."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


class ErrorCode(Enum):
    """Error codes that we send, with their reason phrases.

    RFC 8489 §14.8, RFC 8445 §7.3.1.1 and, for 403, RFC 8656 §19.
    """

    BAD_REQUEST = 400, "Bad Request"
    UNAUTHENTICATED = 401, "Unauthenticated"
    FORBIDDEN = 403, "Forbidden"
    UNKNOWN_ATTRIBUTE = 420, "Unknown Attribute"
    ROLE_CONFLICT = 487, "Role Conflict"


@dataclass(frozen=True, slots=True)
class StunMessage:
    """A decoded Binding message. An attribute that is absent is `None`.

    Attributes:
        message_class: request, indication, success or error response.
        transaction_id: what a response has in common with its request.
        username: whom the credentials belong to (RFC 8489 §14.3).
        priority: of the peer-reflexive candidate that a check would make (RFC 8445 §7.1.1).
        use_candidate: whether the check nominates its pair (RFC 8445 §7.1.2).
        nomination: which nomination it is; the highest wins (draft-thatcher-ice-renomination).
        controlling: tie-breaker of a sender in the controlling role (RFC 8445 §7.1.3).
        controlled: tie-breaker of a sender in the controlled role.
        mapped_address: where the server saw the request come from (RFC 8489 §14.2, §14.1).
        error_code: 300 to 699 in an error response (RFC 8489 §14.8).
        software: what the sender says it is; never trusted.
        unknown_required: comprehension-required attributes that we do not know: a request is
            answered with 420, a response is discarded (RFC 8489 §6.3).
        has_fingerprint: whether a FINGERPRINT was there (and right: else it does not decode).
    """

    message_class: MessageClass
    transaction_id: TransactionId
    username: str | None = None
    priority: int | None = None
    use_candidate: bool = False
    nomination: int | None = None
    controlling: int | None = None
    controlled: int | None = None
    mapped_address: Endpoint | None = None
    error_code: int | None = None
    software: str | None = None
    unknown_required: tuple[int, ...] = ()
    has_fingerprint: bool = False
    _integrity: "_Integrity | None" = field(default=None, repr=False)

    def is_authentic(self, password: str) -> bool:
        """Tell whether MESSAGE-INTEGRITY is there and made with `password` (RFC 8489 §14.5)."""
        return self._integrity is not None and self._integrity.matches(password)


@dataclass(frozen=True, slots=True)
class _Integrity:
    """A MESSAGE-INTEGRITY and the bytes before it, which it protects."""

    protected: bytes
    digest: bytes

    def matches(self, password: str) -> bool:
        return hmac.compare_digest(attributes.integrity(self.protected, password), self.digest)


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


def parse(payload: bytes) -> StunMessage:
    """Decode a Binding message.

    Raises:
        StunError: not STUN, another method, an attribute that is malformed or does not fit, or
            a wrong FINGERPRINT (RFC 8489 §6.3, §14.7).
    """
    if not is_stun(payload):
        raise StunError("no STUN header")
    (message_type,) = struct.unpack_from("!H", payload)
    if message_type & METHOD_BITS != BINDING:
        raise StunError(f"method {message_type & METHOD_BITS:#x} is not supported")
    walk = _walk(payload)
    transaction_id = payload[8:HEADER_SIZE]
    fields = {
        attributes.DECODED[kind][0]: attributes.decode(kind, value, transaction_id)
        for kind, value in walk.values.items()
    }
    return StunMessage(
        MessageClass(message_type & ~METHOD_BITS),
        transaction_id,
        unknown_required=tuple(walk.unknown_required),
        has_fingerprint=walk.has_fingerprint,
        _integrity=walk.integrity,
        **fields,
    )


def binding_request(transaction_id: TransactionId) -> bytes:
    """Encode a Binding request to a STUN server (RFC 8489 §6.1)."""
    return _encode(MessageClass.REQUEST, transaction_id, [], None)


def binding_indication(transaction_id: TransactionId) -> bytes:
    """Encode a Binding indication: keeps a mapping alive, is not answered (RFC 8445 §11)."""
    return _encode(MessageClass.INDICATION, transaction_id, [], None)


def check_request(
    transaction_id: TransactionId,
    *,
    username: str,
    password: str,
    priority: int,
    controlling: bool,
    tie_breaker: int,
    use_candidate: bool = False,
    nomination: int | None = None,
) -> bytes:
    """Encode a connectivity check (RFC 8445 §7.2.2)."""
    role = Attribute.ICE_CONTROLLING if controlling else Attribute.ICE_CONTROLLED
    values = [
        (Attribute.USERNAME, attributes.text(username)),
        (Attribute.PRIORITY, attributes.unsigned(priority)),
        (role, attributes.unsigned_64(tie_breaker)),
    ]
    if use_candidate:
        values.append((Attribute.USE_CANDIDATE, b""))
    if nomination is not None:
        values.append((Attribute.NOMINATION, attributes.unsigned(nomination)))
    return _encode(MessageClass.REQUEST, transaction_id, values, password)


def success_response(
    transaction_id: TransactionId,
    mapped_address: Endpoint,
    *,
    password: str | None = None,
    nomination: int | None = None,
) -> bytes:
    """Encode a Binding success response; `password` is `None` for a plain STUN server's."""
    address = attributes.xor_address(mapped_address, transaction_id)
    values = [(Attribute.XOR_MAPPED_ADDRESS, address)]
    if nomination is not None:
        values.append((Attribute.NOMINATION, attributes.unsigned(nomination)))
    return _encode(MessageClass.SUCCESS, transaction_id, values, password)


def error_response(
    transaction_id: TransactionId,
    error: ErrorCode,
    *,
    password: str | None = None,
    unknown: Iterable[int] = (),
) -> bytes:
    """Encode a Binding error response; `unknown` goes with 420 (RFC 8489 §14.13)."""
    values = [(Attribute.ERROR_CODE, attributes.error_code(*error.value))]
    if types := list(unknown):
        values.append((Attribute.UNKNOWN_ATTRIBUTES, attributes.attribute_types(types)))
    return _encode(MessageClass.ERROR, transaction_id, values, password)


METHOD_BITS: Final = 0x3EEF
"""Bits of the message type that are the method (RFC 8489 §5)."""


@dataclass(slots=True)
class _Walk:
    """What a pass over the attributes finds."""

    values: dict[int, bytes] = field(default_factory=dict)
    unknown_required: list[int] = field(default_factory=list)
    has_fingerprint: bool = False
    integrity: _Integrity | None = None


def _walk(payload: bytes) -> _Walk:
    walk = _Walk()
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
            walk.has_fingerprint = True
        elif walk.integrity is not None or kind in walk.values:
            # Not protected, or a duplicate: neither is looked at (RFC 8489 §14.5, §14).
            pass
        elif kind == Attribute.MESSAGE_INTEGRITY:
            walk.integrity = _Integrity(payload[:position], value)
        elif kind in attributes.DECODED:
            walk.values[kind] = value
        elif kind < attributes.OPTIONAL and kind not in attributes.UNUSED:
            walk.unknown_required.append(kind)
        position = following
    if Attribute.XOR_MAPPED_ADDRESS in walk.values:
        # Middleboxes rewrite addresses that they recognise, hence the XOR (RFC 8489 §14.2).
        walk.values.pop(Attribute.MAPPED_ADDRESS, None)
    return walk


def _encode(
    message_class: MessageClass,
    transaction_id: TransactionId,
    values: Iterable[tuple[Attribute, bytes]],
    password: str | None,
) -> bytes:
    body = b"".join(attributes.encode(kind, value) for kind, value in values)
    message = _header(message_class, transaction_id, len(body)) + body
    if password is not None:
        digest = attributes.integrity(message, password)
        message += attributes.encode(Attribute.MESSAGE_INTEGRITY, digest)
    message += attributes.encode(Attribute.FINGERPRINT, attributes.fingerprint(message))
    size = len(message) - HEADER_SIZE
    return _header(message_class, transaction_id, size) + message[HEADER_SIZE:]


def _header(message_class: MessageClass, transaction_id: TransactionId, size: int) -> bytes:
    return struct.pack("!HH", BINDING | message_class.value, size) + MAGIC_COOKIE + transaction_id
