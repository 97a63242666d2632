"""Which devices members still have, asked evenly, in virtual time."""

import asyncio

from sidecar.agent.device_watch import IDLE, INTERVAL, DeviceWatch
from sidecar.errors import KeybaseUnavailableError
from sidecar.keybase.client import KeybaseClient

from ...support.virtual_time import VirtualTimeLoop


class Users(KeybaseClient):
    """A Keybase that knows everybody's devices, or is away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[float, str]] = []
        self.away = False

    async def device_ids(self, username: str) -> dict[str, str]:
        self.asked.append((asyncio.get_running_loop().time(), username))
        if self.away:
            raise KeybaseUnavailableError("away")
        return {f"id of {username}": "laptop"}


def play(users: Users, usernames: list[str], seconds: float) -> list[tuple[str, frozenset[str]]]:
    """Return what was told."""

    async def scenario() -> list[tuple[str, frozenset[str]]]:
        told: list[tuple[str, frozenset[str]]] = []
        watch = DeviceWatch(
            users,
            usernames=lambda: usernames,
            on_devices=lambda username, ids: told.append((username, ids)),
        )
        task = asyncio.create_task(watch.run())
        await asyncio.sleep(seconds)
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


def test_a_thousand_members_are_no_burst() -> None:
    users = Users()

    play(users, [f"user{n}" for n in range(1000)], INTERVAL - 0.02)

    assert len(users.asked) == 1000
    assert max(b - a for (a, _), (b, _) in zip(users.asked, users.asked[1:], strict=False)) < 0.05


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
