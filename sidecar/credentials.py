"""Credentials of one pair of devices: derived by both, sent by neither (design D4).

Ufrags and passwords come by HKDF (RFC 5869) from the X25519 secret of the two WireGuard keys,
bound to both public keys and both device identities. So nobody else, in the team or out of it,
can forge or answer a check between the two, and a passed check proves that this device holds
this WireGuard key.
"""

import base64
import hashlib
import hmac
from typing import Final

from nat.path.credentials import IceCredentials, Role

from .errors import IdentityError
from .identity import NodeId, PrivateKey, PublicKey

LABEL: Final = b"kbwg ice credentials v2"
"""Domain separation; changes with any change of what is derived."""

UFRAG_BYTES: Final = 9
"""72 bits, 12 ice-chars: RFC 8445 §5.3 wants 24 bits at least; no two peers may share one."""

PASSWORD_BYTES: Final = 24
"""192 bits, 32 ice-chars: RFC 8445 §5.3 wants 128 bits at least."""


def role(own: PublicKey, peer: PublicKey) -> Role:
    """Return our role: the smaller public key controls."""
    return Role.CONTROLLING if own < peer else Role.CONTROLLED


def derive(private: PrivateKey, own: NodeId, peer: NodeId, peer_key: PublicKey) -> IceCredentials:
    """Derive the credentials that the device `own` shares with the device `peer`.

    Args:
        private: our WireGuard key.
        own: this device, as the peer sees it attested.
        peer: the device that announces `peer_key`.
        peer_key: its WireGuard key.

    Raises:
        IdentityError: the peer's key has small order, so that everybody knows the secret; or it
            is our own, so that both ends would be the same.
    """
    own_key = private.public_key
    if own_key == peer_key:
        raise IdentityError("the peer's key is our own")
    secret = private.exchange(peer_key)
    ends = sorted([(own_key, own), (peer_key, peer)], key=lambda end: end[0])
    info = LABEL + b"".join(_framed(part) for key, node in ends for part in _identity(key, node))
    size = 2 * (UFRAG_BYTES + PASSWORD_BYTES)
    okm = hkdf(secret, info, size)
    # The holder of the smaller key takes the first half as its own.
    first, second = okm[: size // 2], okm[size // 2 :]
    mine, theirs = (first, second) if own_key < peer_key else (second, first)
    return IceCredentials(
        local_ufrag=_ice_chars(mine[:UFRAG_BYTES]),
        local_password=_ice_chars(mine[UFRAG_BYTES:]),
        remote_ufrag=_ice_chars(theirs[:UFRAG_BYTES]),
        remote_password=_ice_chars(theirs[UFRAG_BYTES:]),
    )


def hkdf(secret: bytes, info: bytes, size: int) -> bytes:
    """Return key material by HKDF with SHA-256 and no salt (RFC 5869 §2).

    Args:
        secret: input keying material.
        info: what it is for.
        size: bytes, at most 255 hashes.
    """
    extracted = hmac.digest(bytes(hashlib.sha256().digest_size), secret, "sha256")
    block = material = b""
    for number in range(1, 256):
        if len(material) >= size:
            break
        block = hmac.digest(extracted, block + info + bytes([number]), "sha256")
        material += block
    return material[:size]


def _identity(key: PublicKey, node: NodeId) -> tuple[bytes, bytes, bytes]:
    # What Keybase attests is well-formed; a broken name must still not be a traceback.
    username = node.username.encode("utf-8", "surrogatepass")
    return key.raw, username, node.device_id.encode("utf-8", "surrogatepass")


def _framed(part: bytes) -> bytes:
    return len(part).to_bytes(2, "big") + part


def _ice_chars(raw: bytes) -> str:
    # Standard base64 is exactly the ice-chars of RFC 8839 §5.4; multiples of 3 need no padding.
    return base64.b64encode(raw).decode("ascii")
