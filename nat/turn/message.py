"""TURN messages (RFC 8656 §18), decoded and encoded; their frame is `nat.stun.wire`'s."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from ..errors import StunError
from ..machine import Endpoint, IPAddress
from ..stun import attributes
from ..stun.attributes import Attribute, TransactionId
from ..stun.wire import Integrity, MessageClass, Method, encode, walk

UDP_PROTOCOL: Final = 17
"""REQUESTED-TRANSPORT of the only transport that relays speak to peers (RFC 8656 §18.8)."""

Values = list[tuple[Attribute, bytes]]
"""Attributes of a message, in their order."""


class Family(IntEnum):
    """Address families (RFC 8656 §18.6)."""

    IPV4 = 0x01
    IPV6 = 0x02

    @classmethod
    def of(cls, ip: IPAddress) -> "Family":
        """Return the family of an address."""
        return cls.IPV4 if ip.version == 4 else cls.IPV6


class TurnError(IntEnum):
    """Error codes that a server answers with (RFC 8656 §19, RFC 8489 §14.8)."""

    TRY_ALTERNATE = 300
    BAD_REQUEST = 400
    UNAUTHENTICATED = 401
    FORBIDDEN = 403
    UNKNOWN_ATTRIBUTE = 420
    ALLOCATION_MISMATCH = 437
    STALE_NONCE = 438
    FAMILY_NOT_SUPPORTED = 440
    WRONG_CREDENTIALS = 441
    TRANSPORT_NOT_SUPPORTED = 442
    PEER_FAMILY_MISMATCH = 443
    QUOTA_REACHED = 486
    SERVER_ERROR = 500
    INSUFFICIENT_CAPACITY = 508


@dataclass(frozen=True, slots=True)
class TurnMessage:
    """A decoded message. An attribute that is absent is `None` or empty.

    Attributes:
        method: of a method that we know.
        relayed: relayed transport addresses, one a family (RFC 8656 §18.5).
        mapped: where the server saw the request come from.
        lifetime: of an allocation, in seconds (RFC 8656 §18.2).
        peers: XOR-PEER-ADDRESS, as often as it is there (RFC 8656 §18.3).
        data: what was, or is to be, relayed (RFC 8656 §18.4).
        channel: channel number.
        realm: in a challenge: whom the credentials must be for (RFC 8489 §14.9).
        nonce: in a challenge: to be returned in the next request (RFC 8489 §14.10).
        alternate: where to go instead (RFC 8489 §14.15).
        alternate_domain: the name that its certificate is for (RFC 8489 §14.16).
        unknown: attributes that the server did not know (RFC 8489 §14.13).
        unknown_required: comprehension-required attributes that we do not know.
    """

    method: Method
    message_class: MessageClass
    transaction_id: TransactionId
    relayed: tuple[Endpoint, ...] = ()
    mapped: Endpoint | None = None
    lifetime: int | None = None
    peers: tuple[Endpoint, ...] = ()
    data: bytes | None = None
    channel: int | None = None
    username: str | None = None
    realm: str | None = None
    nonce: bytes | None = None
    error_code: int | None = None
    alternate: Endpoint | None = None
    alternate_domain: str | None = None
    unknown: tuple[int, ...] = ()
    requested_transport: int | None = None
    requested_family: int | None = None
    additional_family: int | None = None
    unknown_required: tuple[int, ...] = ()
    integrity: Integrity | None = field(default=None, repr=False)

    def is_authentic(self, key: bytes) -> bool:
        """Tell whether MESSAGE-INTEGRITY is there and made with `key`."""
        return self.integrity is not None and self.integrity.matches(key)


def parse(payload: bytes) -> TurnMessage:
    """Decode a message of any method of TURN, or Binding.

    Raises:
        StunError: not STUN, another method, or an attribute that is malformed.
    """
    walked = walk(payload)
    try:
        method = Method(walked.method)
    except ValueError as error:
        raise StunError(f"method {walked.method:#x} is not supported") from error
    fields: dict[str, Any] = {}
    unknown: list[int] = []
    for kind, value in walked.values:
        if kind in _DECODERS:
            name, decoder = _DECODERS[kind]
            decoded = _decode(kind, decoder, value, walked.transaction_id)
            if name in _REPEATED:
                fields[name] = (*fields.get(name, ()), decoded)
            else:
                fields.setdefault(name, decoded)
        elif kind < attributes.OPTIONAL and kind not in _UNUSED:
            unknown.append(kind)
    return TurnMessage(
        method,
        walked.message_class,
        walked.transaction_id,
        unknown_required=tuple(unknown),
        integrity=walked.integrity,
        **fields,
    )


def send_indication(transaction_id: TransactionId, peer: Endpoint, data: bytes) -> bytes:
    """Encode a Send indication (RFC 8656 §11.1)."""
    values = [
        (Attribute.XOR_PEER_ADDRESS, attributes.xor_address(peer, transaction_id)),
        (Attribute.DATA, data),
    ]
    return encode(Method.SEND, MessageClass.INDICATION, transaction_id, values)


def requested_transport() -> tuple[Attribute, bytes]:
    """Return REQUESTED-TRANSPORT (RFC 8656 §18.8)."""
    return Attribute.REQUESTED_TRANSPORT, bytes((UDP_PROTOCOL, 0, 0, 0))


def requested_family(family: Family) -> tuple[Attribute, bytes]:
    """Return REQUESTED-ADDRESS-FAMILY (RFC 8656 §18.6): this one only."""
    return Attribute.REQUESTED_ADDRESS_FAMILY, bytes((family, 0, 0, 0))


def additional_family(family: Family) -> tuple[Attribute, bytes]:
    """Return ADDITIONAL-ADDRESS-FAMILY (RFC 8656 §18.11): this one besides IPv4."""
    return Attribute.ADDITIONAL_ADDRESS_FAMILY, bytes((family, 0, 0, 0))


def lifetime(seconds: int) -> tuple[Attribute, bytes]:
    """Return LIFETIME (RFC 8656 §18.2)."""
    return Attribute.LIFETIME, attributes.unsigned(seconds)


def channel_number(channel: int) -> tuple[Attribute, bytes]:
    """Return CHANNEL-NUMBER (RFC 8656 §18.1)."""
    return Attribute.CHANNEL_NUMBER, struct.pack("!HH", channel, 0)


def peer_addresses(peers: Iterable[Endpoint], transaction_id: TransactionId) -> Values:
    """Return one XOR-PEER-ADDRESS for each peer (RFC 8656 §18.3)."""
    return [
        (Attribute.XOR_PEER_ADDRESS, attributes.xor_address(peer, transaction_id)) for peer in peers
    ]


_Decoder = Callable[[bytes, TransactionId], Any]


def _decode(kind: int, decoder: _Decoder, value: bytes, transaction_id: TransactionId) -> Any:
    try:
        return decoder(value, transaction_id)
    except (ValueError, struct.error) as error:
        raise StunError(f"malformed attribute {kind:#06x}: {error}") from error


def _text(value: bytes, _: TransactionId) -> str:
    return value.decode()


def _raw(value: bytes, _: TransactionId) -> bytes:
    return value


def _first_byte(value: bytes, _: TransactionId) -> int:
    (byte,) = struct.unpack("!Bxxx", value)
    return int(byte)


def _channel(value: bytes, _: TransactionId) -> int:
    (channel,) = struct.unpack("!Hxx", value)
    return int(channel)


def _types(value: bytes, _: TransactionId) -> tuple[int, ...]:
    return struct.unpack(f"!{len(value) // 2}H", value)


_DECODERS: Final[dict[int, tuple[str, _Decoder]]] = {
    Attribute.XOR_MAPPED_ADDRESS: ("mapped", attributes.read_xor_address),
    Attribute.XOR_RELAYED_ADDRESS: ("relayed", attributes.read_xor_address),
    Attribute.XOR_PEER_ADDRESS: ("peers", attributes.read_xor_address),
    Attribute.ALTERNATE_SERVER: ("alternate", attributes.read_address),
    Attribute.ALTERNATE_DOMAIN: ("alternate_domain", _text),
    Attribute.LIFETIME: ("lifetime", attributes.read_unsigned),
    Attribute.DATA: ("data", _raw),
    Attribute.CHANNEL_NUMBER: ("channel", _channel),
    Attribute.USERNAME: ("username", _text),
    Attribute.REALM: ("realm", _text),
    Attribute.NONCE: ("nonce", _raw),
    Attribute.ERROR_CODE: ("error_code", attributes.read_error_code),
    Attribute.UNKNOWN_ATTRIBUTES: ("unknown", _types),
    Attribute.REQUESTED_TRANSPORT: ("requested_transport", _first_byte),
    Attribute.REQUESTED_ADDRESS_FAMILY: ("requested_family", _first_byte),
    Attribute.ADDITIONAL_ADDRESS_FAMILY: ("additional_family", _first_byte),
}
"""Attribute -> the field of `TurnMessage` that holds it, and its decoder."""

_REPEATED: Final = frozenset({"relayed", "peers"})
"""Fields of attributes that may be there more than once (RFC 8656 §7.3, §10.1)."""

_UNUSED: Final = frozenset({Attribute.MAPPED_ADDRESS})
"""Known, and not needed."""
