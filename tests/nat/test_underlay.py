"""Which addresses are an underlay."""

from ipaddress import ip_address, ip_network

from nat.candidate import is_reachable_address
from nat.underlay import Network, Underlay

OVERLAY: Network = ip_network("100.64.7.0/24")
OVERLAY6: Network = ip_network("fd80:945e:1919::/48")


def underlay() -> Underlay:
    return Underlay(refused=(OVERLAY,), may_check=is_reachable_address)


def test_nothing_is_sent_into_the_overlay_or_to_what_cannot_be_reached() -> None:
    known = underlay()

    assert known.may_send_to(ip_address("198.51.100.1"))
    assert not known.may_send_to(ip_address("100.64.7.9"))
    assert not known.may_send_to(ip_address("127.0.0.1"))
    assert not known.refuses(ip_address("127.0.0.1")), "only our own is refused as a source"


def test_a_network_may_be_refused_later_and_is_of_its_family_alone() -> None:
    known = underlay()
    member6 = ip_address("fd80:945e:1919::6440:747")
    assert not known.refuses(member6)

    known.refuse((OVERLAY6, OVERLAY))

    assert known.refuses(member6)
    assert known.refuses(ip_address("100.64.7.9"))
    assert not known.refuses(ip_address("2001:db8::1"))
