"""Golden rulesets. That they behave as named is proved on the kernel by test_nat_kinds."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from itertools import product

import pytest

from integration.behaviour import Filtering, Hairpinning, Input, Mapping, Nat, Udp
from integration.nftables import Position, ruleset

AT = Position(
    lan="eth0",
    wan="eth1",
    lan_subnet=IPv4Network("192.168.1.0/24"),
    wan_address=IPv4Address("198.18.113.2"),
    inside=IPv4Address("192.168.1.10"),
)


def test_most_homes() -> None:
    assert (
        ruleset(Nat(), AT)
        == """\
add table inet kbwg_router
delete table inet kbwg_router
add table ip kbwg_router
delete table ip kbwg_router
table ip kbwg_router {
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept
    oifname "eth1" masquerade
  }
}
table inet kbwg_router {
  chain input {
    type filter hook input priority filter; policy accept
    iifname "eth1" ct state new drop
  }
  chain forward {
    type filter hook forward priority filter; policy drop
    ct state established,related accept
    iifname "eth0" oifname "eth1" accept
  }
  chain output {
    type filter hook output priority filter; policy accept
    icmp type redirect drop
  }
}
"""
    )


def test_address_dependent_filtering_with_hairpinning() -> None:
    nat = Nat(filtering=Filtering.ADDRESS_DEPENDENT, hairpinning=Hairpinning.ON)
    assert (
        ruleset(nat, AT).split("delete table ip kbwg_router\n")[1]
        == """\
table ip kbwg_router {
  map inside {
    type inet_service : ipv4_addr . inet_service
    flags dynamic,timeout
    timeout 120s
  }
  chain prerouting {
    type nat hook prerouting priority dstnat; policy accept
    iifname "eth1" ip daddr 198.18.113.2 meta l4proto udp dnat ip to udp dport map @inside
    iifname "eth0" ip daddr 198.18.113.2 meta l4proto udp dnat ip to udp dport map @inside
  }
  chain postrouting {
    type nat hook postrouting priority srcnat; policy accept
    oifname "eth1" masquerade
    oifname "eth0" ip saddr 192.168.1.0/24 ct status dnat snat ip to 198.18.113.2
  }
  chain learn {
    type filter hook postrouting priority srcnat + 1; policy accept
    ip saddr 198.18.113.2 meta l4proto udp ct direction original ct original ip saddr \
192.168.1.0/24 update @inside { udp sport : ct original ip saddr . ct original proto-src }
    ip saddr 198.18.113.2 meta l4proto udp ct direction reply ct reply ip saddr \
192.168.1.0/24 update @inside { udp sport : ct reply ip saddr . ct reply proto-src }
  }
}
table inet kbwg_router {
  set contacted {
    type ipv4_addr . inet_service . ipv4_addr
    flags dynamic,timeout
    timeout 120s
  }
  chain input {
    type filter hook input priority filter; policy accept
    iifname "eth1" ct state new drop
  }
  chain forward {
    type filter hook forward priority filter; policy drop
    iifname "eth0" oifname "eth1" update @contacted { ip saddr . udp sport . ip daddr }
    ct state established,related accept
    iifname "eth0" oifname "eth1" accept
    iifname "eth0" oifname "eth0" ct status dnat accept
    iifname "eth1" oifname "eth0" ct status dnat ip daddr . udp dport . ip saddr @contacted accept
  }
  chain output {
    type filter hook output priority filter; policy accept
    icmp type redirect drop
  }
}
"""
    )


def test_without_translation_there_is_no_nat_table() -> None:
    text = ruleset(Nat(mapping=Mapping.NONE, filtering=Filtering.ENDPOINT_INDEPENDENT), AT)
    assert "table ip kbwg_router {" not in text
    assert '    iifname "eth1" oifname "eth0" accept\n' in text


def test_an_address_and_port_dependent_mapping_takes_a_new_port_each_time() -> None:
    text = ruleset(Nat(mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT), AT)
    udp, others = 'oifname "eth1" meta l4proto udp masquerade fully-random', 'oifname "eth1" masq'
    assert 0 < text.index(udp) < text.index(others)


def test_one_to_one_mapping_needs_its_host() -> None:
    nat = Nat(mapping=Mapping.ONE_TO_ONE, filtering=Filtering.ENDPOINT_INDEPENDENT)
    text = ruleset(nat, AT)
    assert 'iifname "eth1" ip daddr 198.18.113.2 dnat ip to 192.168.1.10\n' in text
    assert 'oifname "eth1" ip saddr 192.168.1.10 snat ip to 198.18.113.2\n' in text
    without = Position(lan="eth0", wan="eth1", lan_subnet=AT.lan_subnet, wan_address=AT.wan_address)
    with pytest.raises(ValueError, match="NAT_INSIDE"):
        ruleset(nat, without)


def test_a_router_without_ipv4_filters_and_does_not_translate() -> None:
    at = Position(lan="eth0", wan="eth1")
    rules = ruleset(Nat(mapping=Mapping.NONE), at)
    assert "table ip kbwg_router {" not in rules
    assert 'iifname "eth0" oifname "eth1" accept' in rules
    with pytest.raises(ValueError, match="only IPv4 is translated"):
        ruleset(Nat(), at)


def test_an_accepting_router_drops_nothing_that_is_sent_to_itself() -> None:
    assert "ct state new drop" in ruleset(Nat(), AT)
    assert "ct state new drop" not in ruleset(Nat(input=Input.ACCEPT), AT)


def test_where_udp_is_blocked_only_port_443_is_accepted() -> None:
    forward = ruleset(Nat(udp=Udp.BLOCKED), AT).split("chain forward {")[1].split("}")[0]
    accepting = [line.strip() for line in forward.splitlines() if "accept" in line]
    assert accepting == [
        "ct state established,related accept",
        'iifname "eth0" oifname "eth1" tcp dport 443 accept',
    ]


def test_every_behaviour_has_rules_with_balanced_braces() -> None:
    for mapping, filtering, hairpinning, unsolicited, udp in product(
        Mapping, Filtering, Hairpinning, Input, Udp
    ):
        text = ruleset(
            Nat(
                mapping=mapping,
                filtering=filtering,
                hairpinning=hairpinning,
                input=unsolicited,
                udp=udp,
            ),
            AT,
        )
        assert text.count("{") == text.count("}")
        assert ("map @inside" in text) == ("map inside {" in text)
        assert ("@contacted" in text) == ("set contacted {" in text)


def test_a_published_port_leads_to_the_inside_host_whatever_filters() -> None:
    at = replace(AT, published=4711)
    text = ruleset(Nat(), at)
    forward = 'iifname "eth1" ip daddr 198.18.113.2 udp dport 4711 dnat ip to 192.168.1.10\n'
    admit = (
        'iifname "eth1" oifname "eth0" ct status dnat ip daddr 192.168.1.10 udp dport 4711 accept'
    )
    assert forward in text
    assert admit in text
    with pytest.raises(ValueError, match="published"):
        ruleset(Nat(), replace(at, inside=None))
    with pytest.raises(ValueError, match="published"):
        ruleset(Nat(mapping=Mapping.NONE), at)
