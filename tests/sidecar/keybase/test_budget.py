"""Who may call when little is left."""

from itertools import pairwise
from random import Random

import pytest

from sidecar.keybase.api import Tank
from sidecar.keybase.budget import JITTER, CallBudget, Priority


def budget(gas: int, *, capacity: int = 100, reset: float = 100.0) -> CallBudget:
    made = CallBudget(Random(1))
    made.note(Tank(capacity, gas, reset), 0.0)
    return made


@pytest.mark.parametrize("priority", Priority)
def test_nothing_waits_before_anything_is_known(priority: Priority) -> None:
    assert CallBudget(Random(1)).wait(priority, 0.0) == 0


def test_what_is_left_is_kept_for_what_matters_most() -> None:
    tank = budget(gas=40)

    assert tank.wait(Priority.BACKGROUND, 0.0) == 100
    assert tank.wait(Priority.ROUTINE, 0.0) == 0
    assert tank.wait(Priority.URGENT, 0.0) == 0


def test_routine_calls_are_spread_over_the_rest_of_the_window() -> None:
    tank, now, made = budget(gas=15), 0.0, []

    while now < 100.0:
        if (wait := tank.wait(Priority.ROUTINE, now)) == 0:
            made.append(now)
        now += wait or 0.1

    # 8 of 100 are left to what is urgent, and the other 7 come evenly.
    assert len(made) == 7
    pauses = [b - a for a, b in pairwise(made)]
    assert max(pauses) - min(pauses) < 1


def test_urgent_calls_are_made_until_the_server_refuses() -> None:
    tank = budget(gas=2)

    assert [tank.wait(Priority.URGENT, 0.0) for _ in range(5)] == [0] * 5
    tank.refused(30.0, 0.0)

    assert 30 <= tank.wait(Priority.URGENT, 0.0) <= 30 * (1 + JITTER)
    assert tank.wait(Priority.URGENT, 30 * (1 + JITTER)) == 0


def test_a_full_tank_holds_nobody_up() -> None:
    tank = budget(gas=1)
    assert tank.wait(Priority.BACKGROUND, 99.0) == pytest.approx(1.0)
    assert tank.wait(Priority.BACKGROUND, 100.0) == 0

    tank.note(Tank(100, 99, 50.0), 100.0)
    assert tank.wait(Priority.BACKGROUND, 100.0) == 0


def test_our_own_calls_count_between_two_answers() -> None:
    tank = budget(gas=51)

    waits = [tank.wait(Priority.BACKGROUND, 0.0) for _ in range(3)]

    assert waits == [0, 0, 100]
