"""Who a node is: its WireGuard key pair and the Keybase device that announces it."""

import base64
import binascii
import secrets
from dataclasses import dataclass, field

from nacl.bindings import crypto_scalarmult, crypto_scalarmult_base
from nacl.exceptions import CryptoError

from .errors import IdentityError

KEY_SIZE = 32
"""Bytes of an X25519 key (RFC 7748 §5)."""

DeviceKey = tuple[str, str]
"""(username, device id): what Keybase attests of a message's sender."""


@dataclass(frozen=True, slots=True, order=True)
class PublicKey:
    """A WireGuard public key; compared and ordered as bytes."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != KEY_SIZE:
            raise IdentityError(f"a public key has {KEY_SIZE} bytes, not {len(self.raw)}")

    @classmethod
    def from_base64(cls, text: str) -> "PublicKey":
        """Decode `wg pubkey` output; raise `IdentityError` if it is not exactly one key."""
        return cls(_decode(text))

    def __str__(self) -> str:
        return base64.b64encode(self.raw).decode("ascii")


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A WireGuard private key. Never shown: `repr` and `str` hide it."""

    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.raw) != KEY_SIZE:
            raise IdentityError(f"a private key has {KEY_SIZE} bytes, not {len(self.raw)}")

    @classmethod
    def generate(cls) -> "PrivateKey":
        """Make a new key, clamped as `wg genkey` does (the codec of the library clamps)."""
        return cls(secrets.token_bytes(KEY_SIZE)).clamped()

    @classmethod
    def from_base64(cls, text: str) -> "PrivateKey":
        """Decode `wg genkey` output; raise `IdentityError` if it is not exactly one key."""
        return cls(_decode(text))

    def to_base64(self) -> str:
        """Encode for the state directory and for WireGuard; never log this."""
        return base64.b64encode(self.raw).decode("ascii")

    def clamped(self) -> "PrivateKey":
        """Return the key as WireGuard stores it (RFC 7748 §5), so that both compare equal."""
        raw = bytearray(self.raw)
        raw[0] &= 248
        raw[31] = (raw[31] & 127) | 64
        return PrivateKey(bytes(raw))

    @property
    def public_key(self) -> PublicKey:
        """The key that peers know us by."""
        return PublicKey(crypto_scalarmult_base(self.raw))

    def exchange(self, peer: PublicKey) -> bytes:
        """Return the X25519 shared secret; raise `IdentityError` if it is all zeros.

        A public key of small order gives zeros to everybody (RFC 7748 §6.1).
        """
        try:
            return crypto_scalarmult(self.raw, peer.raw)
        except CryptoError as error:
            raise IdentityError("the public key has small order") from error


@dataclass(frozen=True, slots=True, order=True)
class NodeId:
    """The Keybase device that a message is attested to come from.

    Attributes:
        username: Keybase user, lower case.
        device_id: 32 hex digits; never reused.
        device: the device's name, as `peers.json` and people say it.
    """

    username: str
    device_id: str
    device: str

    @property
    def key(self) -> DeviceKey:
        """What tells it from every other device, whatever they are called."""
        return (self.username, self.device_id)

    def __str__(self) -> str:
        return f"{self.username}/{self.device}"


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise IdentityError("not base64") from error
