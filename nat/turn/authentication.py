"""Long-term credentials (RFC 8489 §9.2): what a server challenges with, and what answers it."""

import hashlib
from dataclasses import dataclass

from ..stun import attributes
from ..stun.attributes import Attribute
from .message import TurnMessage, Values
from .server import Credentials, Login


@dataclass(frozen=True, slots=True)
class Signature:
    """What a request needs so that the server knows who asks.

    Attributes:
        values: USERNAME, REALM and NONCE.
        key: of MESSAGE-INTEGRITY, in both directions.
    """

    values: Values
    key: bytes


class Authentication:
    """The state of one client at one server; new for each connection.

    Args:
        credentials: `None`: there are none, so every challenge is lost.
    """

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials
        self._login: Login | None = None
        self._realm = ""
        self._nonce = b""

    def signature(self) -> Signature | None:
        """Return how to sign the next request; `None`: the server has not challenged us yet."""
        if self._login is None:
            return None
        values = [
            (Attribute.USERNAME, attributes.text(self._login.username)),
            (Attribute.REALM, attributes.text(self._realm)),
            (Attribute.NONCE, self._nonce),
        ]
        return Signature(values, long_term_key(self._login, self._realm))

    def unauthenticated(self, challenge: TurnMessage, *, signed: bool) -> bool:
        """Take in a 401; whether it is worth asking again (RFC 8489 §9.2.5).

        Not with what has been refused already: only another realm or another login is.
        """
        if self._credentials is None or challenge.realm is None or challenge.nonce is None:
            return False
        before = (self._login, self._realm)
        if self._login is None or signed:
            self._login = self._credentials.login()
        self._realm, self._nonce = challenge.realm, challenge.nonce
        return not signed or (self._login, self._realm) != before

    def stale(self, challenge: TurnMessage) -> bool:
        """Take in a 438: the same credentials with another nonce (RFC 8489 §9.2.5)."""
        if self._login is None or challenge.nonce is None:
            return False
        self._nonce = challenge.nonce
        self._realm = challenge.realm or self._realm
        return True


def long_term_key(login: Login, realm: str) -> bytes:
    """Return the key of long-term credentials (RFC 8489 §9.2.2).

    MD5 is what MESSAGE-INTEGRITY is defined with; what protects it is the HMAC around it.
    """
    text = f"{login.username}:{realm}:{login.password}"
    return hashlib.md5(text.encode(), usedforsecurity=False).digest()
