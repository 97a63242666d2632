"""By which interface a datagram leaves; reading the host's network is seen in the labs."""

from ipaddress import ip_address, ip_network

from nat.io.ways import Ways
from nat.machine import IPAddress

HOME, MOBILE, SECOND = (ip_address(ip) for ip in ("192.168.1.10", "10.0.0.5", "192.168.1.11"))
HOME6 = ip_address("2001:db8::10")
FAR, CONTAINER = ip_address("198.51.100.1"), ip_address("172.17.0.2")
BRIDGES = frozenset({ip_network("172.17.0.0/16"), ip_network("fd00:17::/64")})


def test_with_one_uplink_the_routes_decide_how_many_addresses_it_may_have() -> None:
    one: dict[IPAddress, int] = {HOME: 2, SECOND: 2, HOME6: 2}

    assert Ways(one).choices().uplinks == {}


def test_with_several_uplinks_of_a_family_each_address_has_its_own() -> None:
    several: dict[IPAddress, int] = {HOME: 2, SECOND: 2, MOBILE: 3, HOME6: 2}

    assert Ways(several, BRIDGES).choices() == Ways({HOME: 2, SECOND: 2, MOBILE: 3}, BRIDGES)


def test_an_address_leaves_by_its_uplink_but_to_neighbours_behind_a_bridge() -> None:
    ways = Ways({HOME: 2, MOBILE: 3}, BRIDGES)

    assert [ways.interface(source, FAR) for source in (HOME, MOBILE, SECOND)] == [2, 3, 0]
    assert [ways.interface(source, CONTAINER) for source in (HOME, MOBILE)] == [0, 0]
    assert ways.is_near(ip_address("fd00:17::2"))
    assert not ways.is_near(ip_address("fd00:18::2"))
