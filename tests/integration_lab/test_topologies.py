"""Every topology of `compose/` is fit for both a lab of namespaces and a Docker engine."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from integration import compose_file

COMPOSE = Path(__file__).resolve().parents[2] / "compose"

FILES = sorted(
    path for path in COMPOSE.glob("*.yaml") if "kbwg-testbed" in path.read_text(encoding="utf-8")
)

LAB_RANGES = [ip_network(text) for text in ("192.168.0.0/16", "198.18.0.0/15", "172.16.0.0/12",
                                            "10.0.0.0/8", "100.64.0.0/10", "2001:db8::/32",
                                            "fd00::/8")]  # fmt: skip
"""Ranges for homes, carriers and tests of networks: an engine makes them the machine's own, so
nobody on the internet may have them, and not the machine itself (198.18.0.0/15, RFC 2544)."""


def documents() -> list[Any]:
    return [
        pytest.param(yaml.safe_load(path.read_text(encoding="utf-8")), id=path.name)
        for path in FILES
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_labs_understand_it_and_it_begins_with_a_drawing(path: Path) -> None:
    topology = compose_file.read(path, {}, {})

    assert topology.services
    comment = path.read_text(encoding="utf-8").split("\nname:")[0]
    assert comment.startswith("# ")
    assert "│" in comment or "──" in comment, "a drawing of the topology"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_its_networks_are_the_labs_own(path: Path) -> None:
    for name, network in compose_file.read(path, {}, {}).networks.items():
        for subnet in network.subnets:
            assert any(
                subnet.version == known.version and subnet.subnet_of(known)  # type: ignore[arg-type]
                for known in LAB_RANGES
            ), f"{name}: {subnet} may be somebody's; public addresses come from 198.18.0.0/15"


@pytest.mark.parametrize("document", documents())
def test_no_engine_translates_what_its_routers_route(document: dict[str, Any]) -> None:
    option = "com.docker.network.bridge.enable_ip_masquerade"
    for name, network in document["networks"].items():
        assert network.get("driver_opts", {}).get(option) == "false", name


@pytest.mark.parametrize("document", documents())
def test_the_images_own_init_is_the_only_one(document: dict[str, Any]) -> None:
    assert not [name for name, service in document["services"].items() if "init" in service]
