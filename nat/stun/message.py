"""STUN messages (RFC 8489) and the attributes of ICE (RFC 8445 §16.1); the only user of aioice.stun.

aioice supplies the codec of single attributes, of MESSAGE-INTEGRITY and of FINGERPRINT. The walk
over a message is ours, because a shared port receives anything from anybody: nothing but
`StunError` leaves `parse`, and what MESSAGE-INTEGRITY does not cover is never seen.
"""

import hmac
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address
from typing import Any, Final

from aioice import stun as codec

from ..errors import StunError
from ..machine import Endpoint

MAGIC_COOKIE: Final = struct.pack("!I", codec.COOKIE)
"""Second word of every STUN message (RFC 8489 §5)."""

HEADER_SIZE: Final = codec.HEADER_LENGTH
"""Bytes before the first attribute (RFC 8489 §5)."""

TRANSACTION_ID_SIZE: Final = 12
"""Bytes of a transaction id (RFC 8489 §5: 96 bits)."""

MAX_NOMINATION: Final = 2**24 - 1
"""Largest nomination value (draft-thatcher-ice-renomination §4: 24 bits)."""

MAX_USERNAME_SIZE: Final = 508
"""Bytes of a USERNAME (RFC 8489 §14.3: fewer than 509)."""

TransactionId = bytes


class MessageClass(Enum):
    """Class bits of the message type (RFC 8489 §5)."""

    REQUEST = codec.Class.REQUEST.value
    INDICATION = codec.Class.INDICATION.value
    SUCCESS = codec.Class.RESPONSE.value
    ERROR = codec.Class.ERROR.value


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
        expected = codec.message_integrity(self.protected, password.encode())
        return hmac.compare_digest(expected, self.digest)


def is_stun(payload: bytes) -> bool:
    """Tell STUN from WireGuard and ChannelData on a shared port (RFC 7983 §7).

    WireGuard's type and reserved bytes read as a STUN length of 0, and no WireGuard message
    is 20 bytes long, so the length tells them apart even if an index equals the cookie.
    """
    return (
        len(payload) >= HEADER_SIZE
        and payload[0] < 4
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
    if message_type & _METHOD_BITS != codec.Method.BINDING:
        raise StunError(f"method {message_type & _METHOD_BITS:#x} is not supported")
    walk = _walk(payload)
    transaction_id = payload[8:HEADER_SIZE]
    try:
        fields = {
            _FIELDS[kind][0]: _FIELDS[kind][1](value, transaction_id)
            for kind, value in walk.values.items()
        }
    except (ValueError, struct.error) as error:
        raise StunError(f"malformed attribute: {error}") from error
    return StunMessage(
        MessageClass(message_type & ~_METHOD_BITS),
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
    role = _ICE_CONTROLLING if controlling else _ICE_CONTROLLED
    attributes = [
        (_USERNAME, codec.pack_string(username)),
        (_PRIORITY, codec.pack_unsigned(priority)),
        (role, codec.pack_unsigned_64(tie_breaker)),
    ]
    if use_candidate:
        attributes.append((_USE_CANDIDATE, b""))
    if nomination is not None:
        attributes.append((_NOMINATION, codec.pack_unsigned(nomination)))
    return _encode(MessageClass.REQUEST, transaction_id, attributes, password)


def success_response(
    transaction_id: TransactionId,
    mapped_address: Endpoint,
    *,
    password: str | None = None,
    nomination: int | None = None,
) -> bytes:
    """Encode a Binding success response; `password` is `None` for a plain STUN server's."""
    address = (str(mapped_address.ip), mapped_address.port)
    attributes = [(_XOR_MAPPED_ADDRESS, codec.pack_xor_address(address, transaction_id))]
    if nomination is not None:
        attributes.append((_NOMINATION, codec.pack_unsigned(nomination)))
    return _encode(MessageClass.SUCCESS, transaction_id, attributes, password)


def error_response(
    transaction_id: TransactionId,
    error: ErrorCode,
    *,
    password: str | None = None,
    unknown: Iterable[int] = (),
) -> bytes:
    """Encode a Binding error response; `unknown` goes with 420 (RFC 8489 §14.13)."""
    attributes = [(_ERROR_CODE, codec.pack_error_code(error.value))]
    if types := list(unknown):
        attributes.append((_UNKNOWN_ATTRIBUTES, struct.pack(f"!{len(types)}H", *types)))
    return _encode(MessageClass.ERROR, transaction_id, attributes, password)


_METHOD_BITS: Final = 0x3EEF
"""Bits of the message type that are the method (RFC 8489 §5)."""

_MAPPED_ADDRESS: Final = 0x0001
_USERNAME: Final = 0x0006
_MESSAGE_INTEGRITY: Final = 0x0008
_ERROR_CODE: Final = 0x0009
_UNKNOWN_ATTRIBUTES: Final = 0x000A
_REALM: Final = 0x0014
_NONCE: Final = 0x0015
_XOR_MAPPED_ADDRESS: Final = 0x0020
_PRIORITY: Final = 0x0024
_USE_CANDIDATE: Final = 0x0025
_SOFTWARE: Final = 0x8022
_FINGERPRINT: Final = 0x8028
_ICE_CONTROLLED: Final = 0x8029
_ICE_CONTROLLING: Final = 0x802A
_NOMINATION: Final = 0xC001

_OPTIONAL: Final = 0x8000
"""Attributes from here on may be ignored by who does not know them (RFC 8489 §14)."""

_KNOWN_AND_UNUSED: Final = frozenset({_UNKNOWN_ATTRIBUTES, _REALM, _NONCE})
"""Known, so no reason for a 420; nothing here needs their values."""


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
        following = position + 4 + size + codec.padding_length(size)
        if following > end:
            raise StunError("attribute runs past the end of the message")
        value = payload[position + 4 : position + 4 + size]
        if kind == _FINGERPRINT:
            if following != end:
                raise StunError("FINGERPRINT is not the last attribute")
            if value != codec.pack_unsigned(codec.message_fingerprint(payload[:position])):
                raise StunError("wrong FINGERPRINT")
            walk.has_fingerprint = True
        elif walk.integrity is not None or kind in walk.values:
            # Not protected, or a duplicate: neither is looked at (RFC 8489 §14.5, §14).
            pass
        elif kind == _MESSAGE_INTEGRITY:
            walk.integrity = _Integrity(payload[:position], value)
        elif kind in _FIELDS:
            walk.values[kind] = value
        elif kind < _OPTIONAL and kind not in _KNOWN_AND_UNUSED:
            walk.unknown_required.append(kind)
        position = following
    if _XOR_MAPPED_ADDRESS in walk.values:
        # Middleboxes rewrite addresses that they recognise, hence the XOR (RFC 8489 §14.2).
        walk.values.pop(_MAPPED_ADDRESS, None)
    return walk


def _encode(
    message_class: MessageClass,
    transaction_id: TransactionId,
    attributes: Iterable[tuple[int, bytes]],
    password: str | None,
) -> bytes:
    body = b"".join(_attribute(kind, value) for kind, value in attributes)
    message_type = codec.Method.BINDING | message_class.value
    message = struct.pack("!HHI12s", message_type, len(body), codec.COOKIE, transaction_id) + body
    if password is not None:
        digest = codec.message_integrity(message, password.encode())
        message += _attribute(_MESSAGE_INTEGRITY, digest)
    fingerprint = codec.pack_unsigned(codec.message_fingerprint(message))
    message += _attribute(_FINGERPRINT, fingerprint)
    return codec.set_body_length(message, len(message) - HEADER_SIZE)


def _attribute(kind: int, value: bytes) -> bytes:
    padding = bytes(codec.padding_length(len(value)))
    return struct.pack("!HH", kind, len(value)) + value + padding


def _username(value: bytes, _: TransactionId) -> str:
    if len(value) > MAX_USERNAME_SIZE:
        raise ValueError("USERNAME is too long")
    return value.decode()


def _unsigned(value: bytes, _: TransactionId) -> int:
    return codec.unpack_unsigned(value)


def _unsigned_64(value: bytes, _: TransactionId) -> int:
    return codec.unpack_unsigned_64(value)


def _nomination(value: bytes, _: TransactionId) -> int:
    # The upper 8 bits are reserved: ignored by a receiver.
    return codec.unpack_unsigned(value) & MAX_NOMINATION


def _error_code(value: bytes, _: TransactionId) -> int:
    return codec.unpack_error_code(value)[0]


def _mapped_address(value: bytes, _: TransactionId) -> Endpoint:
    ip, port = codec.unpack_address(value)
    return Endpoint(ip_address(ip), port)


def _xor_mapped_address(value: bytes, transaction_id: TransactionId) -> Endpoint:
    ip, port = codec.unpack_xor_address(value, transaction_id)
    return Endpoint(ip_address(ip), port)


_Decoder = Callable[[bytes, TransactionId], Any]

_FIELDS: Final[dict[int, tuple[str, _Decoder]]] = {
    _MAPPED_ADDRESS: ("mapped_address", _mapped_address),
    _XOR_MAPPED_ADDRESS: ("mapped_address", _xor_mapped_address),
    _USERNAME: ("username", _username),
    _ERROR_CODE: ("error_code", _error_code),
    _PRIORITY: ("priority", _unsigned),
    _USE_CANDIDATE: ("use_candidate", lambda value, _: True),
    _NOMINATION: ("nomination", _nomination),
    _ICE_CONTROLLING: ("controlling", _unsigned_64),
    _ICE_CONTROLLED: ("controlled", _unsigned_64),
    _SOFTWARE: ("software", lambda value, _: value.decode(errors="replace")),
}
"""Attribute type -> field of `StunMessage` and its decoder."""
