"""What a node of a topology does: `python -m integration.node ROLE`, in the image `kbwg-node`.

    host      an ordinary host: sets its default route and waits
    internet  routes between all of its networks
    router    a home's router: NAT and firewall as `NAT_*` say
    stun      coturn as a STUN server
    turn      coturn as a TURN server, over UDP, TCP and TLS
    keybase   the Keybase simulator's server
    sidecar   the agent, beside its own Keybase device
    predecessor  kb-wireguard of 2020 in its place

The environment of each is in `compose/README.md`. Imports little, because a lab starts many.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path
from typing import Final, NoReturn

from . import coturn, host_firewall, miniupnpd, nftables
from .behaviour import Nat
from .errors import LabError, TopologyError
from .impairment import Impairment, impair_for_ever
from .keybase_device import keybase_environment
from .own_network import (
    add_routes,
    interface_in,
    name_bridge,
    own_subnet,
    required,
    run,
    set_default_route,
)
from .topology import IPNetwork

READY: Final = Path("/run/kbwg-node.ready")
"""Stands once a host or router does its work; what the healthchecks look for."""

SIMULATOR_WAIT_SECONDS: Final = 30.0
"""How long a sidecar waits for its Keybase service: the simulator starts in well under a second,
but on a loaded machine everything starts at once."""


def main(argv: list[str]) -> int:
    """Run a role; returns the exit status for one that cannot be played."""
    if len(argv) != 1 or argv[0] not in ROLES:
        print(f"usage: kbwg-node {{{','.join(ROLES)}}}", file=sys.stderr)
        return 2
    try:
        ROLES[argv[0]](os.environ)
    except LabError as error:
        print(f"kbwg-node {argv[0]}: {error}", file=sys.stderr)
        return 1
    return 0


def host(environment: Mapping[str, str]) -> None:
    """Set the default route and wait."""
    set_default_route(environment)
    _wait()


def internet(environment: Mapping[str, str]) -> None:
    """Route between all networks; `ROUTES` lists `SUBNET via ADDRESS`, separated by commas."""
    add_routes(environment)
    impairment = Impairment.from_environment(environment)
    if impairment.is_none:
        _wait()
    else:
        impair_for_ever(impairment, READY.touch)


def router(environment: Mapping[str, str]) -> None:
    """Translate and filter between `LAN` and `WAN`, two subnets.

    Translated is IPv4 only; the filter knows interfaces, and holds for both families.
    """
    lan_subnet = _subnet(environment, "LAN")
    lan, _ = interface_in(lan_subnet)
    wan, address = interface_in(_subnet(environment, "WAN"))
    inside = environment.get("NAT_INSIDE")
    position = nftables.Position(
        lan=lan,
        wan=wan,
        lan_subnet=lan_subnet if isinstance(lan_subnet, IPv4Network) else None,
        wan_address=address if isinstance(address, IPv4Address) else None,
        inside=IPv4Address(inside) if inside else None,
        published=_port(environment, "NAT_PUBLISHED"),
    )
    set_default_route(environment)
    add_routes(environment)
    try:
        rules = nftables.ruleset(Nat.from_environment(environment), position)
    except ValueError as error:
        raise TopologyError(str(error)) from error
    run("nft", "-f", "-", stdin=rules)
    miniupnpd.set_up(miniupnpd.PortMapping.from_environment(environment), lan, wan)
    _wait()


def keybase(environment: Mapping[str, str]) -> None:
    """Run the Keybase simulator's server on `SIMULATOR_ROOT`."""
    root = required(environment, "SIMULATOR_ROOT")
    module = "integration.keybase_simulator.server"
    os.execv(sys.executable, [sys.executable, "-m", module, "--root", root])


def sidecar(environment: Mapping[str, str]) -> None:
    """Become the agent, beside the Keybase device that `KEYBASE_SIMULATOR_DEVICE` names.

    `ROUTES` are those of `internet`; a host with two uplinks has its second default route there.
    `BRIDGE` is the subnet of a host's own containers.
    """
    _become_host(environment)
    keybase_variables = keybase_environment(environment)
    if keybase_variables:
        socket = Path(keybase_variables["KEYBASE_SOCKET_FILE"])
        _wait_for(socket.is_socket, f"no Keybase service at {socket}")
    os.execvpe("kbwg", ["kbwg", "run"], {**environment, **keybase_variables})


def supervised(environment: Mapping[str, str]) -> None:
    """Become the supervisor, whose Keybase logs in as `KEYBASE_SIMULATOR_DEVICE`, a new device.

    Needs the image's unprivileged user on this machine.
    """
    _become_host(environment)
    username, _, device = required(environment, "KEYBASE_SIMULATOR_DEVICE").partition("/")
    served = keybase_environment(environment)
    variables = {
        "KBWG_KEYBASE": served["KBWG_KEYBASE"],
        "KBWG_KEYBASE_USERNAME": username,
        "KBWG_KEYBASE_DEVICE": device,
        "KBWG_KEYBASE_PAPERKEY": required(environment, "KEYBASE_SIMULATOR_PAPERKEY"),
    }
    # The service that the lab would give this device is not its own.
    inherited = {name: value for name, value in environment.items() if name not in served}
    os.execvpe("kbwg", ["kbwg", "supervise"], {**inherited, **variables})


def predecessor(environment: Mapping[str, str]) -> None:
    """Run what stands in for kb-wireguard, beside the same Keybase device."""
    from . import predecessor_node

    variables = keybase_environment(environment)
    socket = Path(variables["KEYBASE_SOCKET_FILE"])
    _wait_for(socket.is_socket, f"no Keybase service at {socket}")
    os.environ.update(variables)
    predecessor_node.predecessor(environment)


ROLES: Final[dict[str, Callable[[Mapping[str, str]], None]]] = {
    "host": host,
    "internet": internet,
    "router": router,
    "stun": coturn.stun,
    "turn": coturn.turn,
    "keybase": keybase,
    "sidecar": sidecar,
    "supervised": supervised,
    "predecessor": predecessor,
}


def _become_host(environment: Mapping[str, str]) -> None:
    """Make the routes and the packet filter of a host that an agent runs on."""
    name_bridge(environment)
    set_default_route(environment)
    add_routes(environment)
    rules = host_firewall.ruleset(environment, own_subnet(), environment.get("GATEWAY", ""))
    if rules:
        run("nft", "-f", "-", stdin=rules)


def _subnet(environment: Mapping[str, str], name: str) -> IPNetwork:
    try:
        return ip_network(required(environment, name))
    except ValueError as error:
        raise TopologyError(f"{name}: {error}") from error


def _port(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise TopologyError(f"{name} is a port, not {text!r}")
    return int(text)


def _wait() -> None:
    """Say that we are ready, and live until told to stop."""
    endings = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, endings)
    READY.touch()
    signal.sigwait(endings)


def _wait_for(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + SIMULATOR_WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(otherwise)
        time.sleep(0.02)


def entry_point() -> NoReturn:
    """Run as the program `kbwg-node`."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    entry_point()
