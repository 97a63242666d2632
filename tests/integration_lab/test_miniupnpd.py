"""miniupnpd's configuration and the rules around it."""

import pytest

from integration.errors import TopologyError
from integration.miniupnpd import PortMapping, configuration, rules


def options(speaks: PortMapping, *, any_address: bool = False) -> dict[str, str]:
    text = configuration(speaks, "eth0", "eth1", any_address=any_address)
    return dict(line.split("=", 1) for line in text.splitlines())


@pytest.mark.parametrize(
    ("speaks", "on_port", "upnp"),
    [
        (PortMapping.PCP, "yes", "no"),
        (PortMapping.NAT_PMP, "yes", "no"),
        (PortMapping.UPNP, "no", "yes"),
        (PortMapping.ALL, "yes", "yes"),
    ],
)
def test_it_speaks_what_the_variable_says(speaks: PortMapping, on_port: str, upnp: str) -> None:
    found = options(speaks)

    assert (found["enable_natpmp"], found["enable_upnp"]) == (on_port, upnp)
    assert (found["listening_ip"], found["ext_ifname"]) == ("eth0", "eth1")
    assert found["secure_mode"] == "yes"


def test_an_option_that_older_versions_do_not_know_is_left_out_there() -> None:
    assert "ext_allow_private_ipv4" not in options(PortMapping.ALL)
    assert options(PortMapping.ALL, any_address=True)["ext_allow_private_ipv4"] == "yes"


@pytest.mark.parametrize(
    ("speaks", "dropped"),
    [
        (PortMapping.PCP, "@th,64,8 0 drop"),
        (PortMapping.NAT_PMP, "@th,64,8 2 drop"),
        (PortMapping.UPNP, "udp dport 5351 counter drop"),
        (PortMapping.ALL, None),
    ],
)
def test_what_is_not_wanted_on_the_port_that_two_share_is_dropped(
    speaks: PortMapping, dropped: str | None
) -> None:
    text = rules(speaks, "eth0", "eth1")

    assert ("drop" in text) is (dropped is not None)
    assert dropped is None or dropped in text


def test_its_chains_come_before_the_router_s_own() -> None:
    text = rules(PortMapping.ALL, "eth0", "eth1")

    assert 'insert rule inet kbwg_router forward iifname "eth1" jump miniupnpd' in text
    assert "priority dstnat - 10" in text


def test_a_value_that_is_none_is_named() -> None:
    assert PortMapping.from_environment({}) is PortMapping.OFF
    with pytest.raises(TopologyError, match="NAT_PORT_MAPPING is one of off, pcp, nat-pmp"):
        PortMapping.from_environment({"NAT_PORT_MAPPING": "magic"})
