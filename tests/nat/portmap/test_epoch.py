"""A gateway's clock tells whether it has kept its mappings (RFC 6887 §8.5)."""

import pytest

from nat.portmap.epoch import Epoch


def known() -> Epoch:
    epoch = Epoch()
    assert epoch.continues(1000, 500.0), "the first answer is always valid"
    return epoch


@pytest.mark.parametrize(
    ("server", "client"),
    [
        (1000, 500.0),
        (999, 500.5),  # reordered answers
        (1100, 600.0),
        (1096, 600.0),  # a slow clock
        (1108, 600.0),  # a fast one
        (1002, 500.0),
    ],
)
def test_a_clock_that_goes_on_is_one_that_remembers(server: int, client: float) -> None:
    assert known().continues(server, client)


@pytest.mark.parametrize(
    ("server", "client"),
    [
        (998, 500.0),  # backwards
        (0, 600.0),  # a restart
        (1091, 600.0),  # it stood still for a while: a restart long ago
        (1110, 600.0),  # it jumped: another gateway
    ],
)
def test_a_clock_that_does_not_is_a_restart(server: int, client: float) -> None:
    assert not known().continues(server, client)


def test_after_a_restart_the_new_time_counts() -> None:
    epoch = known()
    assert not epoch.continues(3, 600.0)

    assert epoch.continues(103, 700.0)
