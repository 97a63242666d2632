"""The rules as text; what the kernel makes of them is the labs' business."""

from ipaddress import IPv4Interface, IPv6Interface

from sidecar.firewall.rules import CLAMP, TunnelFilter

OWN: frozenset[IPv4Interface | IPv6Interface] = frozenset(
    {IPv4Interface("100.64.7.1/24"), IPv6Interface("fd12:3456:789a::6440:701/64")}
)


def test_the_table_is_replaced_as_a_whole_in_one_transaction() -> None:
    lines = TunnelFilter("kbwg0", OWN).ruleset().splitlines()

    assert lines[:3] == [
        "table inet kbwg_kbwg0",
        "delete table inet kbwg_kbwg0",
        "table inet kbwg_kbwg0 {",
    ]
    assert lines[-1] == "}"


def test_only_overlay_sources_reach_our_overlay_addresses() -> None:
    text = TunnelFilter("kbwg0", OWN).ruleset()

    assert chain(text, "arriving") == [
        "ip saddr 100.64.7.0/24 ip daddr 100.64.7.1 accept",
        "ip6 saddr fd12:3456:789a::/64 ip6 daddr fd12:3456:789a::6440:701 accept",
        "counter drop",
    ]


def test_what_is_forwarded_is_dropped_both_ways_unless_it_was_redirected_here() -> None:
    text = TunnelFilter("kbwg0", OWN).ruleset()

    assert chain(text, "forward")[1:] == [
        'iifname "kbwg0" jump passing',
        'oifname "kbwg0" jump passing',
    ]
    assert chain(text, "passing") == [
        CLAMP,
        "ct status dnat ct original ip daddr 100.64.7.1 accept",
        "ct status dnat ct original ip6 daddr fd12:3456:789a::6440:701 accept",
        "counter drop",
    ]


def test_without_an_address_nothing_gets_in() -> None:
    text = TunnelFilter("kbwg0", frozenset()).ruleset()

    assert chain(text, "arriving") == ["counter drop"]
    assert chain(text, "passing") == [CLAMP, "counter drop"]
    assert len(chain(text, "prerouting")) == 1


def test_an_overlay_source_from_elsewhere_is_dropped() -> None:
    text = TunnelFilter("kbwg0", frozenset({IPv4Interface("100.64.7.1/24")})).ruleset()

    assert chain(text, "prerouting")[1:] == [
        'iifname != "kbwg0" ip saddr 100.64.7.0/24 fib saddr type != local counter drop'
    ]


def test_interfaces_that_differ_have_tables_that_differ() -> None:
    names = ["kbwg0", "kb-wg0", "kb.wg0", "kb_wg0"]

    tables = {TunnelFilter(name, frozenset()).table for name in names}

    assert len(tables) == len(names)
    assert not any("-" in table for table in tables)


def test_without_filtering_tcp_is_still_told_how_wide_the_tunnel_is() -> None:
    text = TunnelFilter("kbwg0", OWN, filtering=False).ruleset()

    assert chain(text, "forward")[1:] == [f'iifname "kbwg0" {CLAMP}', f'oifname "kbwg0" {CLAMP}']
    assert text.count("chain ") == 1
    assert "drop" not in text


def chain(text: str, name: str) -> list[str]:
    """Return the lines of one chain."""
    _, _, rest = text.partition(f"  chain {name} {{\n")
    body, end, _ = rest.partition("\n  }\n")
    assert end
    return [line.strip() for line in body.splitlines()]
