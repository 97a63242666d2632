"""When the directory is looked at while message follows message."""

from sidecar.mesh.bursts import BURST, Bursts


def test_the_first_message_is_looked_at_at_once_and_those_that_follow_together() -> None:
    bursts = Bursts()

    assert bursts.heard(10.0)
    assert not bursts.heard(10.0 + BURST / 2)
    assert not bursts.heard(10.0 + BURST * 0.9)

    assert bursts.next_timeout() == 10.0 + BURST
    assert not bursts.handle_timeout(10.0 + BURST / 2)
    assert bursts.handle_timeout(10.0 + BURST)


def test_a_look_for_another_reason_is_as_good() -> None:
    bursts = Bursts()
    bursts.heard(10.0)
    bursts.heard(10.0)

    bursts.looked()

    assert bursts.next_timeout() is None
    assert not bursts.handle_timeout(11.0)


def test_after_a_rest_the_next_message_is_the_first() -> None:
    bursts = Bursts()
    bursts.rest(10.0)

    assert not bursts.heard(10.0 + BURST / 2)
    assert bursts.heard(10.0 + BURST)
