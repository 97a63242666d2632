"""When a deaf service is ended, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

from sidecar.agent.service_renewal import INTERVAL, PATIENCE, ServiceRenewal
from sidecar.errors import KeybaseUnavailableError

from ...support.virtual_time import VirtualTimeLoop


def ended(
    play: Callable[[ServiceRenewal], Awaitable[None]], seconds: float, *, failing: bool = False
) -> list[float]:
    """Return when the service was ended."""

    async def scenario() -> list[float]:
        times: list[float] = []

        async def end() -> None:
            times.append(asyncio.get_running_loop().time())
            if failing:
                raise KeybaseUnavailableError("away")

        renewal = ServiceRenewal(end)
        task = asyncio.create_task(renewal.run())
        await play(renewal)
        await asyncio.sleep(seconds)
        task.cancel()
        return times

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scenario())


async def deaf(renewal: ServiceRenewal) -> None:
    renewal.note(deaf=True)


def test_a_service_that_stays_deaf_is_ended_and_not_again_for_an_hour() -> None:
    assert ended(deaf, INTERVAL) == [PATIENCE]
    assert ended(deaf, 2 * (INTERVAL + PATIENCE)) == [PATIENCE, 2 * PATIENCE + INTERVAL]


def test_one_that_could_not_be_ended_is_tried_again_later() -> None:
    assert len(ended(deaf, 2 * (INTERVAL + PATIENCE), failing=True)) == 2


def test_one_that_hears_again_in_time_is_left_alone() -> None:
    async def now_and_then(renewal: ServiceRenewal) -> None:
        for _ in range(20):
            renewal.note(deaf=True)
            await asyncio.sleep(PATIENCE - 1)
            renewal.note(deaf=False)
            await asyncio.sleep(1)

    assert ended(now_and_then, 2 * PATIENCE) == []
