"""TURN servers and the credentials that they ask for (RFC 8656 §5, RFC 8489 §9.2)."""

import base64
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

LOGIN_LIFETIME: Final = 86_400
"""Seconds for which a time-limited login is made out: longer than any allocation is meant to last,
so that a server whose clock is off by hours accepts it."""


class TurnTransport(Enum):
    """What runs between us and a server (RFC 8656 §2.1), in the order of preference.

    Data over TCP waits for what was lost before it; TLS costs a handshake more. But they get
    through where UDP does not.
    """

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"

    @property
    def reliable(self) -> bool:
        """Whether nothing is lost on it, so that nothing is sent twice (RFC 8489 §6.2.2)."""
        return self is not TurnTransport.UDP

    @property
    def rank(self) -> int:
        """0 for the best."""
        return list(TurnTransport).index(self)


@dataclass(frozen=True, slots=True)
class Login:
    """A username and its password."""

    username: str
    password: str = field(repr=False)


class Credentials(Protocol):
    """Makes out logins for a server."""

    def login(self) -> Login:
        """Return a login that is valid from now on."""


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """One username and password for ever (RFC 8489 §9.2)."""

    username: str
    password: str = field(repr=False)

    def login(self) -> Login:
        return Login(self.username, self.password)


@dataclass(frozen=True, slots=True)
class SharedSecret:
    """Logins that end, made from a secret that the server knows, too.

    The scheme of draft-uberti-behave-turn-rest, coturn's `use-auth-secret`: the username is
    `expiry:name`, the password the HMAC-SHA1 of it.

    Attributes:
        wall: tells the wall-clock time in seconds since 1970.
    """

    secret: str = field(repr=False)
    name: str
    wall: Callable[[], float] = field(compare=False, repr=False)

    def login(self) -> Login:
        username = f"{int(self.wall()) + LOGIN_LIFETIME}:{self.name}"
        digest = hmac.digest(self.secret.encode(), username.encode(), "sha1")
        return Login(username, base64.b64encode(digest).decode())


@dataclass(frozen=True, slots=True)
class TurnServer:
    """A server, by the name that the operator gave it.

    Attributes:
        host: name or address; also what its certificate must be for.
        credentials: `None`: a server that asks for none.
    """

    host: str
    port: int
    transport: TurnTransport
    credentials: Credentials | None = field(default=None, repr=False)

    def __str__(self) -> str:
        scheme = "turns" if self.transport is TurnTransport.TLS else "turn"
        host = f"[{self.host}]" if ":" in self.host else self.host
        transport = "?transport=tcp" if self.transport is TurnTransport.TCP else ""
        return f"{scheme}:{host}:{self.port}{transport}"
