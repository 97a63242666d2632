"""Which overlay address we claim."""

from random import Random

from .support import ME, MY_KEY, directory, line


def test_our_address_is_used_after_the_claim_was_read_back() -> None:
    subject = directory()
    ip, since = subject.claim(Random(1))
    assert ip is not None
    assert since is None
    assert subject.view().own_ip is None
    assert subject.claim(Random(2)) == (ip, None)

    subject.handle_messages([line(7, sender=ME, key=MY_KEY, ip=str(ip))])

    assert subject.view().own_ip == ip
    assert subject.claim(Random(3)) == (ip, 7)


def test_who_loses_a_claim_picks_another_address() -> None:
    subject = directory()
    ip, _ = subject.claim(Random(1))

    subject.handle_messages([line(6, ip=str(ip)), line(7, sender=ME, key=MY_KEY, ip=str(ip))])

    assert subject.view().own_ip is None
    assert subject.claim(Random(1))[0] not in (None, ip)
