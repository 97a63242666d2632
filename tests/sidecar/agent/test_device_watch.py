"""Which devices members still have, asked evenly, in virtual time."""

import asyncio
from itertools import pairwise

import pytest

from sidecar.agent.device_watch import IDLE, INTERVAL, RATE, DeviceWatch
from sidecar.errors import KeybaseUnavailableError
from sidecar.keybase.client import KeybaseClient

from ...support.virtual_time import VirtualTimeLoop


class Users(KeybaseClient):
    """A Keybase that knows everybody's devices, or is away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[float, str]] = []
        self.away = False
        self.latency = 0.0

    async def device_ids(self, username: str) -> dict[str, str]:
        self.asked.append((asyncio.get_running_loop().time(), username))
        await asyncio.sleep(self.latency)
        if self.away:
            raise KeybaseUnavailableError("away")
        return {f"id of {username}": "laptop"}


def play(
    users: Users, usernames: list[str], seconds: float, hurry_at: float | None = None
) -> list[tuple[str, frozenset[str]]]:
    """Return what was told."""

    async def scenario() -> list[tuple[str, frozenset[str]]]:
        told: list[tuple[str, frozenset[str]]] = []
        watch = DeviceWatch(
            users,
            usernames=lambda: usernames,
            on_devices=lambda username, ids: told.append((username, ids)),
        )
        task = asyncio.create_task(watch.run())
        if hurry_at is not None:
            await asyncio.sleep(hurry_at)
            watch.hurry()
        await asyncio.sleep(seconds - (hurry_at or 0.0))
        task.cancel()
        return told

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scenario())


def test_everybody_is_asked_about_once_in_each_interval_and_evenly() -> None:
    users = Users()

    told = play(users, ["alice", "bob"], INTERVAL + 1)

    half = INTERVAL / 2
    assert users.asked == [(0.0, "alice"), (half, "bob"), (INTERVAL, "alice")]
    assert told[0] == ("alice", frozenset({"id of alice"}))


def test_two_hundred_members_are_asked_about_in_one_interval_and_are_no_burst() -> None:
    users = Users()

    play(users, [f"user{n}" for n in range(200)], INTERVAL - 0.1)

    assert len(set(users.asked)) == 200
    assert max(_gaps(users)) == pytest.approx(1 / RATE)


def test_a_thousand_members_are_asked_about_at_a_pace_that_keybase_bears() -> None:
    users = Users()

    play(users, [f"user{n}" for n in range(1000)], 1000 / RATE - 0.1)

    assert len(set(users.asked)) == 1000
    assert min(_gaps(users)) == pytest.approx(1 / RATE)


def test_a_rotated_key_makes_it_look_at_a_thousand_members_in_one_interval() -> None:
    users = Users()

    play(users, [f"user{n}" for n in range(1000)], 31.0 + INTERVAL, hurry_at=30.0)

    hurried = {username for at, username in users.asked if at >= 30.0}
    assert len(hurried) == 1000


def test_a_slow_answer_does_not_make_the_round_longer() -> None:
    users = Users()
    users.latency = 0.15

    play(users, [f"user{n}" for n in range(200)], INTERVAL)

    assert len(set(users.asked)) == 200


def _gaps(users: Users) -> list[float]:
    times = [at for at, _ in users.asked]
    return [after - before for before, after in pairwise(times)]


def test_nobody_is_asked_about_while_keybase_gives_no_answer_worth_telling() -> None:
    users = Users()
    users.away = True

    assert play(users, ["alice"], 3 * INTERVAL) == []
    assert len(users.asked) == 3


def test_somebody_who_comes_later_is_seen_soon() -> None:
    users, usernames = Users(), list[str]()

    async def scenario() -> None:
        watch = DeviceWatch(users, usernames=lambda: usernames, on_devices=lambda *_: None)
        task = asyncio.create_task(watch.run())
        await asyncio.sleep(1.0)
        usernames.append("bob")
        await asyncio.sleep(IDLE)
        task.cancel()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scenario())

    assert users.asked == [(IDLE, "bob")]
