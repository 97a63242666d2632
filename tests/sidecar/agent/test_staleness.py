"""How long a team is believed while Keybase is away, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable

from sidecar.agent.staleness import LOOK_INTERVAL, StalenessWatch

from ...support.virtual_time import VirtualTimeLoop

LIMIT = 100.0


def play(
    act: Callable[[StalenessWatch], Awaitable[None]],
    *,
    limit: float = LIMIT,
    age: float | None = 0.0,
    seconds: float = 1000.0,
    asleep: Callable[[], float] = lambda: 0.0,
) -> list[tuple[float, bool]]:
    """Return when it said what."""

    async def scenario() -> list[tuple[float, bool]]:
        loop = asyncio.get_running_loop()
        told: list[tuple[float, bool]] = []
        watch = StalenessWatch(
            limit,
            age=age,
            on_change=lambda stale: told.append((loop.time(), stale)),
            asleep=asleep,
        )
        task = asyncio.create_task(watch.run())
        await act(watch)
        await asyncio.sleep(seconds - loop.time())
        task.cancel()
        return told

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scenario())


async def away(_: StalenessWatch) -> None:
    """Keybase does not come back."""


def test_a_team_is_believed_for_as_long_as_the_limit_says() -> None:
    assert play(away) == [(LIMIT, True)]


def test_each_look_at_the_members_begins_it_anew() -> None:
    async def looks(watch: StalenessWatch) -> None:
        for _ in range(5):
            await asyncio.sleep(60.0)
            watch.refreshed()

    assert play(looks) == [(300.0 + LIMIT, True)]


def test_a_team_that_can_be_read_again_is_believed_at_once() -> None:
    async def back(watch: StalenessWatch) -> None:
        await asyncio.sleep(250.0)
        watch.refreshed()

    assert play(back, seconds=300.0) == [(LIMIT, True), (250.0, False)]


def test_what_was_old_at_the_start_is_not_younger_for_it() -> None:
    assert play(away, age=70.0) == [(30.0, True)]
    assert play(away, age=5000.0) == [(0.0, True)]


def test_a_team_does_not_stay_young_while_the_machine_sleeps() -> None:
    asleep = 7200.0

    async def sleeps(_: StalenessWatch) -> None:
        nonlocal asleep
        await asyncio.sleep(LOOK_INTERVAL + 1.0)
        asleep += LIMIT

    told = play(sleeps, asleep=lambda: asleep, seconds=LIMIT / 2)

    assert told == [(2 * LOOK_INTERVAL, True)]


def test_without_a_limit_it_is_believed_for_ever() -> None:
    assert play(away, limit=0.0, age=10_000.0) == []
