"""A host's own rules."""

from ipaddress import IPv4Network

import pytest

from integration.errors import TopologyError
from integration.host_firewall import STATEFUL, ruleset

HOME = IPv4Network("192.168.1.0/24")
GATEWAY = "192.168.1.1"


def test_an_ordinary_host_has_none() -> None:
    assert ruleset({"FIREWALL": "off"}, HOME, GATEWAY) == ""


def test_a_firewall_lets_in_only_answers() -> None:
    text = ruleset({"FIREWALL": "on"}, None, "")
    assert STATEFUL in text
    assert "ip saddr" not in text


def test_isolation_leaves_a_host_alone_with_its_gateway_both_ways() -> None:
    text = ruleset({"ISOLATION": "on"}, HOME, GATEWAY)
    inward, outward = text.split("chain output")
    assert f"ip saddr {HOME} ip saddr != {GATEWAY} ip daddr {HOME} drop" in inward
    assert f"ip daddr {HOME} ip daddr != {GATEWAY} ip saddr {HOME} drop" in outward
    assert STATEFUL not in text


def test_isolation_needs_a_network_to_be_alone_in() -> None:
    with pytest.raises(TopologyError, match="ISOLATION"):
        ruleset({"ISOLATION": "on"}, None, GATEWAY)


def test_another_value_is_refused() -> None:
    with pytest.raises(TopologyError, match="FIREWALL is one of on, off"):
        ruleset({"FIREWALL": "yes"}, HOME, GATEWAY)
