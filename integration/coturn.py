"""coturn, a real server, as the roles `stun` and `turn` of a node."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from . import own_network
from .errors import TopologyError

PLAIN_PORT: Final = 3478
"""STUN and TURN over UDP and TCP (RFC 8489 §8.1)."""

TLS_PORT: Final = 443
"""TURN over TLS. Not the standard's 5349: where UDP is blocked only this port gets out."""

RELAY_PORTS: Final = "49152-65535"
"""The range that RFC 8656 §7.2 recommends for relayed endpoints."""

REALM: Final = "turn.example"

CERTIFICATE_DIRECTORY: Final = Path("/run/turn-certificate")
"""Where a server keeps its own certificate and key: nobody else sees its `/run`."""

LIFETIMES: Final = {
    "NONCE_SECONDS": "stale-nonce",
    "ALLOCATION_SECONDS": "max-allocate-lifetime",
    "CHANNEL_SECONDS": "channel-lifetime",
    "PERMISSION_SECONDS": "permission-lifetime",
}
"""Variables that shorten what RFC 8656 makes last for minutes, and coturn's option for each."""

_COMMON: Final = (
    "-n",
    "--no-cli",
    "--log-file=stdout",
    "--simple-log",
    "--pidfile=/run/turnserver.pid",
)


def stun(environment: Mapping[str, str]) -> None:
    """Answer STUN on every address of `LISTEN`; those that no interface has are added.

    With two addresses coturn also does RFC 5780: a second port, and CHANGE-REQUEST.
    """
    own_network.set_default_route(environment)
    addresses = own_network.listen_addresses(environment)
    arguments = [*_COMMON, "--stun-only", "--no-tls", "--no-dtls", "--no-tcp"]
    arguments += [f"--listening-ip={address}" for address in addresses]
    os.execvp("turnserver", ["turnserver", *arguments])


def turn(environment: Mapping[str, str]) -> None:
    """Relay for who has credentials, over UDP, TCP and TLS, from every address of `LISTEN`.

    The certificate names `TURN_NAME` and the addresses, and is signed by the authority in
    `CA_DIRECTORY`, a volume that all servers share and that clients see too.
    """
    # Its cryptography takes long to import, and every node imports this module.
    from . import certificates

    own_network.set_default_route(environment)
    addresses = own_network.listen_addresses(environment)
    certificate, key = certificates.issue(
        Path(own_network.required(environment, "CA_DIRECTORY")),
        CERTIFICATE_DIRECTORY,
        names=[environment.get("TURN_NAME") or REALM],
        addresses=addresses,
    )
    os.execvp(
        "turnserver",
        [
            "turnserver",
            *_COMMON,
            "--verbose",
            "--no-dtls",
            "--no-rfc5780",
            f"--listening-port={PLAIN_PORT}",
            f"--tls-listening-port={TLS_PORT}",
            f"--cert={certificate}",
            f"--pkey={key}",
            *(f"--listening-ip={address}" for address in addresses),
            *(f"--relay-ip={address}" for address in addresses),
            *_relay_ports(environment),
            f"--realm={environment.get('TURN_REALM') or REALM}",
            *credentials(environment),
            *(
                f"--{option}={environment[name]}"
                for name, option in LIFETIMES.items()
                if environment.get(name)
            ),
        ],
    )


def credentials(environment: Mapping[str, str]) -> list[str]:
    """Choose between a static user and time-limited ones made from a shared secret.

    Raises:
        TopologyError: neither is given.
    """
    secret = environment.get("TURN_SECRET")
    if secret:
        return ["--use-auth-secret", f"--static-auth-secret={secret}"]
    username, password = environment.get("TURN_USERNAME"), environment.get("TURN_PASSWORD")
    if not username or not password:
        raise TopologyError("set TURN_SECRET, or TURN_USERNAME and TURN_PASSWORD")
    return ["--lt-cred-mech", f"--user={username}:{password}"]


def _relay_ports(environment: Mapping[str, str]) -> list[str]:
    text = environment.get("RELAY_PORTS") or RELAY_PORTS
    first, dash, last = text.partition("-")
    if not (dash and first.isdigit() and last.isdigit() and 1024 <= int(first) <= int(last)):
        raise TopologyError(f"RELAY_PORTS is FIRST-LAST, from 1024 up, not {text!r}")
    return [f"--min-port={first}", f"--max-port={last}"]
