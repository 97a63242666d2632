"""Sleep is noticed by two clocks that part."""

import asyncio

from nat.io.sleep import LOOK_INTERVAL, SHORTEST, SleepWatch, slept
from tests.support.virtual_time import VirtualTimeLoop


def watch(readings: list[float]) -> list[float]:
    """Run a watch over what the clocks say at one look after the other."""
    woken: list[float] = []
    left = iter(readings)

    async def scenario() -> None:
        task = asyncio.create_task(SleepWatch(woken.append, read=lambda: next(left)).run())
        await asyncio.sleep((len(readings) - 1) * LOOK_INTERVAL + LOOK_INTERVAL / 2)
        task.cancel()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scenario())
    assert list(left) == []
    return woken


def test_a_sleep_is_reported_once_with_its_length() -> None:
    assert watch([100.0, 100.0, 3700.0, 3700.0, 3760.0]) == [3600.0, 60.0]


def test_clocks_that_drift_are_no_sleep() -> None:
    assert watch([SHORTEST * 0.9 * look for look in range(50)]) == []


def test_a_machine_that_has_not_slept_between_two_looks_says_so() -> None:
    assert abs(slept() - slept()) < 0.1
