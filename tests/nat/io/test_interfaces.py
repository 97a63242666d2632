"""What is drawn from this host's network; reading it is seen in the labs."""

from ipaddress import ip_address

from nat.io.interfaces import alternatives
from nat.machine import IPAddress

HOME, MOBILE, SECOND = (ip_address(ip) for ip in ("192.168.1.10", "10.0.0.5", "192.168.1.11"))
HOME6 = ip_address("2001:db8::10")


def test_with_one_uplink_the_routes_decide_how_many_addresses_it_may_have() -> None:
    one: dict[IPAddress, int] = {HOME: 2, SECOND: 2, HOME6: 2}

    assert alternatives(one) == {}


def test_with_several_uplinks_of_a_family_each_address_has_its_own() -> None:
    several: dict[IPAddress, int] = {HOME: 2, SECOND: 2, MOBILE: 3, HOME6: 2}

    assert alternatives(several) == {HOME: 2, SECOND: 2, MOBILE: 3}
