"""What a node of a topology does to its own network: routes, addresses, programs of the system."""

import json
import subprocess
from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv4Network, ip_address, ip_interface, ip_network
from typing import Final

from .errors import LabError, TopologyError
from .topology import IPAddress, IPInterface, IPNetwork

BRIDGE_NAME: Final = "docker0"
"""Of the bridge that a Docker engine makes first."""


def set_default_route(environment: Mapping[str, str]) -> None:
    """Replace the default route of each family that `GATEWAY` has an address of."""
    for gateway in listed(environment.get("GATEWAY", "")):
        run("ip", "route", "replace", "default", "via", gateway)


def add_routes(environment: Mapping[str, str]) -> None:
    """Add `ROUTES`: `SUBNET via ADDRESS [metric NUMBER]`, separated by commas."""
    for route in listed(environment.get("ROUTES", "")):
        run("ip", "route", "replace", *route.split())


def name_bridge(environment: Mapping[str, str]) -> None:
    """Give the cable in the subnet `BRIDGE` the name of a container engine's bridge, if there is one.

    Raises:
        TopologyError: not a subnet, or none of ours.
    """
    text = environment.get("BRIDGE")
    if not text:
        return
    try:
        name, _ = interface_in(ip_network(text))
    except ValueError as error:
        raise TopologyError(f"BRIDGE: {error}") from error
    run("ip", "link", "set", name, "down")
    run("ip", "link", "set", name, "name", BRIDGE_NAME)
    run("ip", "link", "set", BRIDGE_NAME, "up")


def interface_in(subnet: IPNetwork) -> tuple[str, IPAddress]:
    """Find our interface in a subnet, and our address there.

    Raises:
        TopologyError: there is none.
    """
    for name, address in _interfaces():
        if address.ip in subnet:
            return name, address.ip
    raise TopologyError(f"no interface in {subnet}")


def own_subnet() -> IPv4Network | None:
    """Find the IPv4 network of our first cable that has one."""
    for name, address in _interfaces():
        if name != "lo" and isinstance(address, IPv4Interface):
            return address.network
    return None


def cables() -> list[str]:
    """List our interfaces in networks."""
    return sorted({name for name, _ in _interfaces() if name != "lo"})


def listen_addresses(environment: Mapping[str, str]) -> list[IPAddress]:
    """Read `LISTEN`, addresses separated by commas; those that no interface has are added.

    Raises:
        TopologyError: not an address, or in no subnet of ours.
    """
    try:
        addresses = [ip_address(text) for text in listed(required(environment, "LISTEN"))]
    except ValueError as error:
        raise TopologyError(f"LISTEN: {error}") from error
    present = {address.ip for _, address in _interfaces()}
    for address in addresses:
        if address not in present:
            name, length = _interface_towards(address)
            # No other host can have it, so no second of waiting for duplicates.
            options = ["nodad"] if address.version == 6 else []
            run("ip", "address", "add", f"{address}/{length}", "dev", name, *options)
    return addresses


def required(environment: Mapping[str, str], name: str) -> str:
    """Read a variable that must be there.

    Raises:
        TopologyError: it is not.
    """
    value = environment.get(name)
    if not value:
        raise TopologyError(f"{name} is not set")
    return value


def listed(text: str) -> list[str]:
    """Split a list with commas."""
    return [item.strip() for item in text.split(",") if item.strip()]


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
