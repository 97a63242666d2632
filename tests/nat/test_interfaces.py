"""Which interfaces lead beyond this machine, by their names."""

import pytest

from nat.io.interfaces import IGNORED_NAMES


@pytest.mark.parametrize(
    "name", ["lo", "docker0", "docker_gwbridge", "br-0123456789ab", "veth12ab", "virbr0", "cni0"]
)
def test_what_leads_to_our_own_containers_is_no_uplink(name: str) -> None:
    assert IGNORED_NAMES.match(name)


@pytest.mark.parametrize("name", ["eth0", "enp3s0", "wlan0", "br0", "br-lan", "br-ex", "lowpan0"])
def test_bridges_that_an_operator_named_are_uplinks(name: str) -> None:
    assert not IGNORED_NAMES.match(name)
