"""What a node of a topology does: `python -m integration.node ROLE`, in the image `kbwg-node`.

    host      an ordinary host: sets its default route and waits
    internet  routes between all of its networks
    router    a home's router: NAT and firewall as `NAT_*` say
    stun      coturn as a STUN server
    keybase   the Keybase simulator's server
    sidecar   the agent, beside its own Keybase device

The environment of each is in `compose/README.md`. Imports little, because a lab starts many.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Final, NoReturn

from . import nftables
from .behaviour import Nat
from .errors import LabError, TopologyError
from .topology import IPAddress, IPInterface, IPNetwork

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
    for route in _listed(environment.get("ROUTES", "")):
        run("ip", "route", "replace", *route.split())
    _wait()


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
    )
    set_default_route(environment)
    try:
        rules = nftables.ruleset(Nat.from_environment(environment), position)
    except ValueError as error:
        raise TopologyError(str(error)) from error
    run("nft", "-f", "-", stdin=rules)
    _wait()


def stun(environment: Mapping[str, str]) -> None:
    """Answer STUN on every address of `LISTEN`; those that no interface has are added.

    With two addresses coturn also does RFC 5780: a second port, and CHANGE-REQUEST.
    """
    set_default_route(environment)
    addresses = [ip_address(text) for text in _listed(_required(environment, "LISTEN"))]
    present = {address.ip for _, address in _interfaces()}
    for address in addresses:
        if address not in present:
            name, length = _interface_towards(address)
            options = ["nodad"] if address.version == 6 else []
            run("ip", "address", "add", f"{address}/{length}", "dev", name, *options)
    arguments = ["-n", "--stun-only", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp"]
    arguments += ["--log-file=stdout", "--simple-log", "--pidfile=/run/turnserver.pid"]
    arguments += [f"--listening-ip={address}" for address in addresses]
    os.execvp("turnserver", ["turnserver", *arguments])


def keybase(environment: Mapping[str, str]) -> None:
    """Run the Keybase simulator's server on `SIMULATOR_ROOT`."""
    root = _required(environment, "SIMULATOR_ROOT")
    module = "integration.keybase_simulator.server"
    os.execv(sys.executable, [sys.executable, "-m", module, "--root", root])


def sidecar(environment: Mapping[str, str]) -> None:
    """Become the agent, beside the Keybase device that `KEYBASE_SIMULATOR_DEVICE` names."""
    set_default_route(environment)
    device = environment.get("KEYBASE_SIMULATOR_DEVICE")
    changed = dict(environment)
    if device:
        socket = Path(_required(environment, "SIMULATOR_ROOT"), device, "keybased.sock")
        _wait_for(socket.is_socket, f"no Keybase service at {socket}")
        programs = Path(__file__).parent / "keybase_simulator" / "bin"
        changed["KEYBASE_SOCKET_FILE"] = str(socket)
        changed["KEYBASE_ALLOW_ROOT"] = "1"
        changed["PATH"] = f"{programs}:{environment.get('PATH', os.defpath)}"
    os.execvpe("kbwg", ["kbwg", "run"], changed)


ROLES: Final[dict[str, Callable[[Mapping[str, str]], None]]] = {
    "host": host,
    "internet": internet,
    "router": router,
    "stun": stun,
    "keybase": keybase,
    "sidecar": sidecar,
}


def set_default_route(environment: Mapping[str, str]) -> None:
    """Replace the default route of each family that `GATEWAY` has an address of."""
    for gateway in _listed(environment.get("GATEWAY", "")):
        run("ip", "route", "replace", "default", "via", gateway)


def interface_in(subnet: IPNetwork) -> tuple[str, IPAddress]:
    """Find our interface in a subnet, and our address there.

    Raises:
        TopologyError: there is none.
    """
    for name, address in _interfaces():
        if address.ip in subnet:
            return name, address.ip
    raise TopologyError(f"no interface in {subnet}")


def run(*argv: str, stdin: str = "") -> str:
    """Run a program of the system.

    Raises:
        LabError: it failed; holds what it said.
    """
    result = subprocess.run(argv, input=stdin, text=True, capture_output=True, check=False)
    if result.returncode:
        raise LabError(f"{' '.join(argv)}: {result.stderr.strip()}")
    return result.stdout


def _interfaces() -> list[tuple[str, IPInterface]]:
    """Name and address of every address here."""
    links = json.loads(run("ip", "-json", "address", "show"))
    return [
        (link["ifname"], ip_interface(f"{address['local']}/{address['prefixlen']}"))
        for link in links
        for address in link["addr_info"]
    ]


def _interface_towards(address: IPAddress) -> tuple[str, int]:
    for name, own in _interfaces():
        if address in own.network:
            return name, own.network.prefixlen
    raise TopologyError(f"no interface has a subnet with {address}")


def _listed(text: str) -> list[str]:
    """Split a list with commas."""
    return [item.strip() for item in text.split(",") if item.strip()]


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise TopologyError(f"{name} is not set")
    return value


def _subnet(environment: Mapping[str, str], name: str) -> IPNetwork:
    try:
        return ip_network(_required(environment, name))
    except ValueError as error:
        raise TopologyError(f"{name}: {error}") from error


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
