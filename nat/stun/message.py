"""STUN messages (RFC 8489) of connectivity checks (RFC 8445 §7) and Binding transactions.

How a message is taken apart and put together stands in `wire`; here is what Binding messages say.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ..errors import StunError
from ..machine import Endpoint
from . import attributes
from .attributes import HEADER_SIZE, MAGIC_COOKIE, MAX_NOMINATION, Attribute, TransactionId
from .wire import Integrity, MessageClass, Method, Walked, encode, is_stun, walk

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

ATTRIBUTE_HEADER_SIZE: Final = 4
"""Bytes of an attribute's type and length (RFC 8489 §14)."""

TRANSACTION_ID_SIZE: Final = 12
"""Bytes of a transaction id (RFC 8489 §5: 96 bits)."""

CHANGE_IP: Final = 0x4
"""Flag of CHANGE-REQUEST (RFC 5780 §7.2)."""

CHANGE_PORT: Final = 0x2
"""Flag of CHANGE-REQUEST (RFC 5780 §7.2)."""


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
        other_address: from where the server can also answer (RFC 5780 §7.4).
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
    other_address: Endpoint | None = None
    error_code: int | None = None
    software: str | None = None
    unknown_required: tuple[int, ...] = ()
    has_fingerprint: bool = False
    _integrity: Integrity | None = field(default=None, repr=False)

    def is_authentic(self, password: str) -> bool:
        """Tell whether MESSAGE-INTEGRITY is there and made with `password` (RFC 8489 §14.5)."""
        return self._integrity is not None and self._integrity.matches(password.encode())


def parse(payload: bytes) -> StunMessage:
    """Decode a Binding message.

    Raises:
        StunError: not STUN, another method, an attribute that is malformed or does not fit, or
            a wrong FINGERPRINT (RFC 8489 §6.3, §14.7).
    """
    walked = walk(payload)
    if walked.method != Method.BINDING:
        raise StunError(f"method {walked.method:#x} is not supported")
    values, unknown = _known_values(walked)
    fields = {
        attributes.DECODED[kind][0]: attributes.decode(kind, value, walked.transaction_id)
        for kind, value in values.items()
    }
    return StunMessage(
        walked.message_class,
        walked.transaction_id,
        unknown_required=unknown,
        has_fingerprint=walked.has_fingerprint,
        _integrity=walked.integrity,
        **fields,
    )


def binding_request(
    transaction_id: TransactionId, *, change_ip: bool = False, change_port: bool = False
) -> bytes:
    """Encode a Binding request to a STUN server (RFC 8489 §6.1).

    Args:
        transaction_id: what the answer will have in common with it.
        change_ip: whether the answer shall come from the server's other address (RFC 5780 §7.2).
        change_port: whether it shall come from its other port.
    """
    values = []
    if change_ip or change_port:
        flags = CHANGE_IP * change_ip | CHANGE_PORT * change_port
        values.append((Attribute.CHANGE_REQUEST, attributes.unsigned(flags)))
    return _encode(MessageClass.REQUEST, transaction_id, values, None)


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
    size: int = 0,
) -> bytes:
    """Encode a connectivity check (RFC 8445 §7.2.2), padded to `size` bytes if that is more."""
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
    payload = _encode(MessageClass.REQUEST, transaction_id, values, password)
    missing = size - len(payload) - ATTRIBUTE_HEADER_SIZE
    if missing < 0:
        return payload
    values.append((Attribute.PROBE_PADDING, bytes(missing)))
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


def _known_values(walked: Walked) -> tuple[dict[int, bytes], tuple[int, ...]]:
    """Return what is decoded of a message, and which of the rest may not be ignored."""
    values: dict[int, bytes] = {}
    unknown: list[int] = []
    for kind, value in walked.values:
        if kind in attributes.DECODED:
            values.setdefault(kind, value)  # of duplicates the first counts (RFC 8489 §14)
        elif kind < attributes.OPTIONAL and kind not in attributes.UNUSED:
            unknown.append(kind)
    if Attribute.XOR_MAPPED_ADDRESS in values:
        # Middleboxes rewrite addresses that they recognise, hence the XOR (RFC 8489 §14.2).
        values.pop(Attribute.MAPPED_ADDRESS, None)
    return values, tuple(unknown)


def _encode(
    message_class: MessageClass,
    transaction_id: TransactionId,
    values: Iterable[tuple[Attribute, bytes]],
    password: str | None,
) -> bytes:
    # The key of short-term credentials is the password itself (RFC 8489 §9.1.1).
    key = None if password is None else password.encode()
    return encode(Method.BINDING, message_class, transaction_id, values, key)
