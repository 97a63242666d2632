"""Codec of WireGuard's cross-platform interface (the text protocol of `NAME.sock`)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_network
from typing import Final

from nat.machine import Endpoint

from ..errors import BackendError, IdentityError
from ..identity import PrivateKey, PublicKey
from .changes import (
    AddPeer,
    OpenPeer,
    RemovePeer,
    SetAllowedIPs,
    SetDevice,
    UpdatePeer,
    WireGuardChange,
)
from .device import AllowedIPs, PeerConfig, PeerState, WireGuardState
from .endpoints import parse_endpoint

GET: Final = b"get=1\n\n"

REMEMBERED: Final = 2_048
"""Peers whose key and addresses are not made anew each time: they are read every second."""


def encode(changes: Iterable[WireGuardChange]) -> bytes:
    """Return one `set=1` request that makes `changes` in order."""
    lines = ["set=1"]
    for change in changes:
        lines += _lines(change)
    return ("\n".join(lines) + "\n\n").encode()


def decode_errno(answer: bytes) -> int:
    """Return the errno of an answer; 0 is success.

    Raises:
        BackendError: the answer has none.
    """
    for line in answer.decode("ascii", "replace").splitlines():
        name, _, value = line.partition("=")
        if name == "errno":
            return _integer(name, value)
    raise BackendError("WireGuard's answer ends early")


def decode_device(answer: bytes) -> WireGuardState:
    """Read the answer to `GET`.

    Raises:
        BackendError: it is malformed or reports an error.
    """
    if decode_errno(answer) != 0:
        raise BackendError("WireGuard refuses to tell its configuration")
    device: dict[str, str] = {}
    peers: list[_Peer] = []
    for line in answer.decode("ascii", "replace").splitlines():
        name, _, value = line.partition("=")
        if name == "public_key":
            peers.append(_Peer(_public_key(value)))
        elif name == "allowed_ip" and peers:
            peers[-1].allowed_ips.append(value)
        elif peers:
            peers[-1].fields[name] = value
        else:
            device[name] = value
    return WireGuardState(
        private_key=_private_key(device.get("private_key")),
        listen_port=_integer("listen_port", device.get("listen_port", "0")),
        fwmark=_integer("fwmark", device.get("fwmark", "0")),
        peers={peer.key: peer.state() for peer in peers},
    )


@dataclass(slots=True)
class _Peer:
    key: PublicKey
    allowed_ips: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)

    def state(self) -> PeerState:
        get = self.fields.get
        endpoint = get("endpoint")
        seconds = _integer("last_handshake_time_sec", get("last_handshake_time_sec", "0"))
        nanoseconds = _integer("last_handshake_time_nsec", get("last_handshake_time_nsec", "0"))
        try:
            config = _config(self.key, tuple(self.allowed_ips))
            # Both are zero while there was no handshake.
            handshake = (
                datetime.fromtimestamp(seconds + nanoseconds / 1e9, UTC) if seconds else None
            )
        except (ValueError, OverflowError, OSError) as error:
            raise BackendError(f"WireGuard's answer is malformed: {error}") from error
        return PeerState(
            config=config,
            endpoint=None if endpoint is None else parse_endpoint(endpoint),
            persistent_keepalive=_integer(
                "persistent_keepalive_interval", get("persistent_keepalive_interval", "0")
            ),
            rx_bytes=_integer("rx_bytes", get("rx_bytes", "0")),
            tx_bytes=_integer("tx_bytes", get("tx_bytes", "0")),
            last_handshake=handshake,
        )


def _lines(change: WireGuardChange) -> Iterator[str]:
    match change:
        case SetDevice(private_key=key, listen_port=port, fwmark=mark):
            if key is not None:
                yield f"private_key={key.raw.hex()}"
            if port is not None:
                yield f"listen_port={port}"
            if mark is not None:
                yield f"fwmark={mark}"
        case AddPeer(public_key=public_key, allowed_ips=allowed_ips):
            yield f"public_key={public_key.raw.hex()}"
            yield from _allowed_ips(allowed_ips)
        case SetAllowedIPs(public_key=public_key, allowed_ips=allowed_ips):
            yield f"public_key={public_key.raw.hex()}"
            yield "update_only=true"
            yield from _allowed_ips(allowed_ips)
        case UpdatePeer(public_key=public_key, endpoint=endpoint, persistent_keepalive=keepalive):
            yield f"public_key={public_key.raw.hex()}"
            yield "update_only=true"
            if endpoint is not None:
                yield f"endpoint={_endpoint(endpoint)}"
            if keepalive is not None:
                yield f"persistent_keepalive_interval={keepalive}"
        case OpenPeer(public_key=public_key, endpoint=endpoint, persistent_keepalive=keepalive):
            yield from _lines(UpdatePeer(public_key, endpoint, keepalive))
        case RemovePeer(public_key=public_key):
            yield f"public_key={public_key.raw.hex()}"
            yield "remove=true"


def _allowed_ips(allowed_ips: AllowedIPs) -> Iterator[str]:
    yield "replace_allowed_ips=true"
    for network in sorted(allowed_ips, key=str):
        yield f"allowed_ip={network}"


def _endpoint(endpoint: Endpoint) -> str:
    return str(endpoint)  # brackets round IPv6, as the interface wants them


def _integer(name: str, value: str) -> int:
    # int() would take signs, spaces and underscores.
    if not (value.isascii() and value.isdigit()) or len(value) > 20:
        if name == "errno" and value.startswith("-") and value[1:].isdigit():
            return int(value[:20])
        raise BackendError(f"WireGuard's answer is malformed: {name}={value[:40]!r}")
    return int(value)


@lru_cache(REMEMBERED)
def _config(key: PublicKey, allowed_ips: tuple[str, ...]) -> PeerConfig:
    return PeerConfig(key, frozenset(ip_network(text) for text in allowed_ips))


@lru_cache(REMEMBERED)
def _public_key(value: str) -> PublicKey:
    try:
        return PublicKey(bytes.fromhex(value))
    except (ValueError, IdentityError) as error:
        raise BackendError("WireGuard's answer has a malformed key") from error


def _private_key(value: str | None) -> PrivateKey | None:
    if value is None:
        return None
    try:
        key = PrivateKey(bytes.fromhex(value))
    except (ValueError, IdentityError) as error:
        raise BackendError("WireGuard's answer has a malformed key") from error
    return key if any(key.raw) else None
