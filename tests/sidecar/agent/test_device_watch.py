"""Which devices members still have, asked evenly, in virtual time."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from sidecar.agent.device_watch import (
    BELIEVED,
    IDLE,
    INTERVAL,
    LATE,
    RATE,
    SPACING,
    DeviceWatch,
    round_length,
)
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
    users: Users,
    usernames: list[str],
    seconds: float,
    talk: Callable[[DeviceWatch], Coroutine[Any, Any, None]] | None = None,
) -> list[tuple[str, frozenset[str]]]:
    """Watch for some seconds beside what a test does; return what was told."""

    async def scenario() -> list[tuple[str, frozenset[str]]]:
        told: list[tuple[str, frozenset[str]]] = []
        watch = DeviceWatch(
            users,
            usernames=lambda: usernames,
            on_devices=lambda username, ids: told.append((username, ids)),
        )
        task = asyncio.create_task(watch.run())
        talking = asyncio.create_task(talk(watch)) if talk is not None else None
        await asyncio.sleep(seconds)
        if talking is not None:
            await talking
        task.cancel()
        return told

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scenario())


def test_everybody_is_asked_about_once_in_each_interval_and_evenly() -> None:
    users = Users()

    told = play(users, ["alice", "bob"], INTERVAL + 1)

    turn = round_length(2)
    assert INTERVAL <= turn < INTERVAL + 1
    assert users.asked == [(0.0, "alice"), (turn / 2, "bob"), (turn, "alice")]
    assert told[0] == ("alice", frozenset({"id of alice"}))


def test_two_hundred_members_are_asked_about_in_one_interval_and_are_no_burst() -> None:
    users = Users()

    play(users, [f"user{n}" for n in range(200)], INTERVAL + 0.2)

    assert len({username for _, username in users.asked}) == 200
    assert max(_gaps(users)) == pytest.approx(1 / RATE, rel=0.01)


def test_a_thousand_members_are_asked_about_at_a_pace_that_keybase_bears() -> None:
    users = Users()

    play(users, [f"user{n}" for n in range(1000)], 1000 / RATE + 1.5)

    assert len({username for _, username in users.asked}) == 1000
    assert min(_gaps(users)) >= 1 / RATE


def test_a_rotated_key_makes_it_look_at_a_thousand_members_in_one_interval() -> None:
    users = Users()

    async def rotate(watch: DeviceWatch) -> None:
        await asyncio.sleep(30.0)
        watch.hurry()

    play(users, [f"user{n}" for n in range(1000)], 31.0 + INTERVAL, rotate)

    hurried = {username for at, username in users.asked if at >= 30.0}
    assert len(hurried) == 1000


def test_who_has_said_something_is_asked_about_at_once_and_a_talker_no_more_than_is_useful() -> (
    None
):
    users = Users()

    async def talk(watch: DeviceWatch) -> None:
        await asyncio.sleep(1.0)
        for _ in range(1000):
            watch.heard(["user900"])
            await asyncio.sleep(0.1)

    play(users, [f"user{n}" for n in range(1000)], 102.0, talk)

    asides = [at for at, username in users.asked if username == "user900"]
    assert asides == pytest.approx([1.0 + n * SPACING for n in range(6)])


def test_strangers_who_talk_are_not_asked_about() -> None:
    users = Users()

    async def talk(watch: DeviceWatch) -> None:
        watch.heard(["mallory"])

    play(users, ["bob"], 10.0, talk)

    assert {username for _, username in users.asked} == {"bob"}


@pytest.mark.parametrize("count", [1, 37, 200, 201, 450, 1000, 2900])
def test_the_client_is_asked_when_it_has_just_ceased_to_believe_a_user(count: int) -> None:
    rounds = (BELIEVED + LATE) / round_length(count)

    assert rounds == pytest.approx(round(rounds))
    assert count / round_length(count) <= RATE * 1.001
    assert round_length(count) >= INTERVAL


class Caching(Users):
    """A client that believes a user for ten minutes, and is told otherwise by what it decrypts."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.revoked: dict[str, float] = {}
        self.known: dict[str, float] = {}
        self._loaded: dict[str, float] = {}
        rng = Random(count)
        for n in range(count):
            self._loaded[f"user{n}"] = -rng.uniform(0, BELIEVED)

    def load(self, username: str) -> bool:
        """Look at a user as the client does; whether it knows of a revocation by now."""
        now = asyncio.get_running_loop().time()
        if now - self._loaded[username] >= BELIEVED:
            self._loaded[username] = now
        if self.revoked.get(username, math.inf) <= self._loaded[username]:
            self.known.setdefault(username, now)
        return username in self.known

    def forget(self) -> None:
        """Start again."""
        self._loaded = dict.fromkeys(self._loaded, -math.inf)

    async def device_ids(self, username: str) -> dict[str, str]:
        self.asked.append((asyncio.get_running_loop().time(), username))
        return {"other": "x"} if self.load(username) else {"device": "x", "other": "x"}


def watch_revocations(count: int, *, restarts: bool) -> tuple[list[float], list[float]]:
    """Let every seventh of some users lose a device while all talk as members do.

    Args:
        count: users.
        restarts: whether Keybase's service starts again every five minutes, and has forgotten what
            it knew of users.

    Returns:
        Seconds that each revocation took to be noticed, and those since the client knew of it.
    """
    users = Caching(count)
    usernames = [f"user{n}" for n in range(count)]
    rng = Random(1)
    noticed: dict[str, float] = {}

    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        def tell(username: str, ids: frozenset[str]) -> None:
            if "device" not in ids:
                noticed.setdefault(username, loop.time())

        watch = DeviceWatch(users, usernames=lambda: usernames, on_devices=tell)
        task = asyncio.create_task(watch.run())
        # From here on the client's beliefs are as old as our questions.
        await asyncio.sleep(3 * BELIEVED)
        for username in usernames[::7]:
            users.revoked[username] = loop.time() + rng.uniform(0, BELIEVED)
        began = loop.time()
        restarted = 0
        while loop.time() < began + 3 * BELIEVED:
            await asyncio.sleep(1500 / count)
            if restarts and loop.time() - began > 300 * (restarted + 1):
                restarted += 1
                users.forget()
            speaker = rng.choice(usernames)
            users.load(speaker)
            watch.heard([speaker])
        task.cancel()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(scenario())

    assert noticed.keys() == users.revoked.keys()
    return (
        sorted(noticed[user] - users.revoked[user] for user in noticed),
        sorted(noticed[user] - users.known[user] for user in noticed),
    )


@pytest.mark.parametrize("count", [200, 1000])
def test_a_revocation_is_noticed_as_soon_as_the_client_can_know_of_it(count: int) -> None:
    took, _ = watch_revocations(count, restarts=False)

    assert took[len(took) * 9 // 10] <= BELIEVED + LATE
    assert took[-1] <= BELIEVED + LATE + round_length(count)


@pytest.mark.parametrize("count", [200, 1000])
def test_a_revocation_is_noticed_within_a_minute_of_the_clients_hearing_of_it(count: int) -> None:
    _, since_known = watch_revocations(count, restarts=True)

    assert max(since_known) <= 60.0


def test_a_slow_answer_does_not_make_the_round_longer() -> None:
    users = Users()
    users.latency = 0.15

    play(users, [f"user{n}" for n in range(200)], INTERVAL + 0.5)

    assert len({username for _, username in users.asked}) == 200


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
