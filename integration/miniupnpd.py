"""miniupnpd, a real port mapping server, beside the router of a node.

It maps by PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP-IGD. The first two share a port and cannot be
switched off alone, so where only one is wanted the packet filter drops what is not.

A test restarts it like a gateway that loses power, in the router's node:

    python -m integration.miniupnpd restart
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final

from . import nftables
from .errors import LabError, TopologyError
from .own_network import run

CONFIGURATION: Final = Path("/run/miniupnpd.conf")
PID_FILE: Final = Path("/run/kbwg-miniupnpd.pid")
"""Ours, of the process that runs."""

ITS_PID_FILE: Final = Path("/run/miniupnpd.pid")
"""Its own, from which it concludes that another one runs."""

LOG: Final = Path("/run/miniupnpd.log")

PORTS: Final = (5351, 1900)
"""UDP ports of PCP with NAT-PMP, and of SSDP: it has at least one of them."""

START_SECONDS: Final = 20.0
"""How long it may take to be there on a loaded machine; it takes a few milliseconds."""

TABLE: Final = "kbwg_miniupnpd"
"""Where it writes its translations; its forwarding rules stand in the router's own table."""

CHAINS: Final = (
    f"{nftables.TABLE} miniupnpd",
    f"{TABLE} prerouting_miniupnpd",
    f"{TABLE} postrouting_miniupnpd",
)
"""Chains that it fills."""


class PortMapping(Enum):
    """What the router's server speaks."""

    OFF = "off"
    PCP = "pcp"
    NAT_PMP = "nat-pmp"
    UPNP = "upnp"
    ALL = "all"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "PortMapping":
        """Read `NAT_PORT_MAPPING`.

        Raises:
            TopologyError: it is none of the values.
        """
        text = environment.get("NAT_PORT_MAPPING") or cls.OFF.value
        try:
            return cls(text)
        except ValueError:
            values = ", ".join(member.value for member in cls)
            raise TopologyError(f"NAT_PORT_MAPPING is one of {values}, not {text!r}") from None


def set_up(speaks: PortMapping, lan: str, wan: str) -> None:
    """Start it on a router whose own rules are loaded; nothing where it is off.

    Args:
        speaks: the protocols.
        lan: name of the inner interface.
        wan: name of the outer interface.

    Raises:
        LabError: the program is missing.
    """
    if speaks is PortMapping.OFF:
        return
    program = _program()
    # Newer versions map from any address if told so; see provision.sh for the older ones.
    allows = b"ext_allow_private_ipv4" in program.read_bytes()
    CONFIGURATION.write_text(configuration(speaks, lan, wan, any_address=allows))
    run("nft", "-f", "-", stdin=rules(speaks, lan, wan))
    start()


def configuration(speaks: PortMapping, lan: str, wan: str, *, any_address: bool) -> str:
    """Write its configuration."""
    on_port = speaks in (PortMapping.PCP, PortMapping.NAT_PMP, PortMapping.ALL)
    upnp = speaks in (PortMapping.UPNP, PortMapping.ALL)
    options = {
        "ext_ifname": wan,
        "listening_ip": lan,
        "http_port": "5000",
        "enable_natpmp": "yes" if on_port else "no",
        "enable_upnp": "yes" if upnp else "no",
        # Clients map to themselves only, as on every router that is not broken.
        "secure_mode": "yes",
        # The epoch begins with the program, not with the machine.
        "system_uptime": "no",
        "min_lifetime": "60",
        "max_lifetime": "86400",
        "upnp_table_name": nftables.TABLE,
        "upnp_forward_chain": "miniupnpd",
        "upnp_nat_table_name": TABLE,
        "upnp_nat_chain": "prerouting_miniupnpd",
        "upnp_nat_postrouting_chain": "postrouting_miniupnpd",
        "uuid": "6b627767-0000-4000-8000-000000000001",
        **({"ext_allow_private_ipv4": "yes"} if any_address else {}),
    }
    return "".join(f"{name}={value}\n" for name, value in options.items())


def rules(speaks: PortMapping, lan: str, wan: str) -> str:
    """Write the chains that it fills, and what leads into them."""
    # Over IPv6 it answers PCP whatever its configuration says.
    dropped = {
        PortMapping.PCP: "@th,64,8 0",
        PortMapping.NAT_PMP: "@th,64,8 2",
        PortMapping.UPNP: "counter",
    }.get(speaks)
    refusal = f'iifname "{lan}" udp dport 5351 {dropped} drop'
    hooks = [
        # Before the router's own translation, which would take the datagram for the router's.
        (
            "prerouting",
            "type nat hook prerouting priority dstnat - 10",
            "jump prerouting_miniupnpd",
        ),
        (
            "postrouting",
            "type nat hook postrouting priority srcnat - 10",
            "jump postrouting_miniupnpd",
        ),
        ("input", "type filter hook input priority filter", refusal if dropped is not None else ""),
    ]
    lines = [f"add table inet {TABLE}", f"delete table inet {TABLE}", f"add table inet {TABLE}"]
    lines += [f"add chain inet {chain}" for chain in CHAINS]
    for name, hook, rule in hooks:
        lines.append(f"add chain inet {TABLE} {name} {{ {hook}; policy accept; }}")
        if rule:
            lines.append(f"add rule inet {TABLE} {name} {rule}")
    lines.append(f'insert rule inet {nftables.TABLE} forward iifname "{wan}" jump miniupnpd')
    return "\n".join(lines) + "\n"


def start() -> None:
    """Start it as `set_up` has configured it, and wait until it can be asked.

    Raises:
        LabError: it does not come up.
    """
    ITS_PID_FILE.unlink(missing_ok=True)
    with LOG.open("ab") as log:
        process = subprocess.Popen(
            [_program(), "-d", "-f", CONFIGURATION, "-P", ITS_PID_FILE],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    PID_FILE.write_text(str(process.pid))
    deadline = time.monotonic() + START_SECONDS
    while not any(f":{port} " in run("ss", "-Hnlu") for port in PORTS):
        if process.poll() is not None or time.monotonic() > deadline:
            raise LabError(f"miniupnpd does not come up: {LOG.read_text()[-1000:]}")
        time.sleep(0.02)


def stop() -> None:
    """Kill it and forget its mappings: what a loss of power does."""
    os.kill(int(PID_FILE.read_text()), signal.SIGKILL)
    run("nft", "-f", "-", stdin="".join(f"flush chain inet {chain}\n" for chain in CHAINS))


def _program() -> Path:
    found = shutil.which("miniupnpd")
    if found is None:
        raise LabError("no program miniupnpd; run integration/provision.sh")
    return Path(found)


def main(argv: list[str]) -> int:
    """Stop it, start it, or both."""
    match argv:
        case ["stop"]:
            stop()
        case ["start"]:
            start()
        case ["restart"]:
            stop()
            start()
        case _:
            print("usage: python -m integration.miniupnpd {start,stop,restart}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
