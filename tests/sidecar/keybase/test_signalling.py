"""Every message once, and soon, whatever Keybase does; in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import KeybaseError, LoggedOutError, RateLimitedError
from sidecar.keybase.models import Channel, ChatMessage, TopicType
from sidecar.keybase.reader import Feed
from sidecar.keybase.signalling import (
    DEAF_RECONCILE,
    GRACE,
    LAST_RETRY,
    LOOK_SPACING,
    RECONCILE,
    REJOIN,
    Signalling,
    SignallingHealth,
)

from ...support import virtual_time
from ...support.keybase import AWAY, EPOCH, MemoryKeybase

CHAT = Channel("acme", "announce")
DEV = Channel("acme", "announce", TopicType.DEV)


class Scene:
    """A Keybase, what follows it, and what that has delivered and told."""

    def __init__(self) -> None:
        self.keybase = MemoryKeybase()
        self.delivered: list[tuple[float, str | None]] = []
        self.more: list[bool] = []
        self.dev: list[str | None] = []
        self.healths: list[tuple[float, SignallingHealth]] = []
        self.dev_when_complete: list[str | None] | None = None
        loop = asyncio.get_running_loop()
        feeds = (
            Feed(CHAT, self._deliver),
            Feed(DEV, lambda ms, _: self.dev.extend(m.text for m in ms), needed=False),
        )
        self.signalling = Signalling(
            self.keybase,
            feeds,
            wall=lambda: EPOCH + loop.time(),
            on_health=self._note,
        )

    def _deliver(self, messages: Sequence[ChatMessage], more: bool) -> None:
        now = asyncio.get_running_loop().time()
        self.delivered += [(now, message.text) for message in messages]
        self.more.append(more)

    def _note(self, health: SignallingHealth) -> None:
        self.healths.append((asyncio.get_running_loop().time(), health))
        if health.complete and self.dev_when_complete is None:
            self.dev_when_complete = [*self.dev]

    @property
    def texts(self) -> list[str]:
        return [text or "" for _, text in self.delivered]

    def at(self, text: str) -> float:
        [moment] = [moment for moment, said in self.delivered if said == text]
        return moment

    @property
    def health(self) -> SignallingHealth:
        return self.healths[-1][1]

    def reads(self, since: float, until: float) -> int:
        calls = self.keybase.calls
        return sum(since <= at < until and name == "read" for at, name in calls)


def play(act: Callable[[Scene], Awaitable[None]], seconds: float = 10.0) -> Scene:
    """Follow the channels beside what a test does, and then for some seconds more."""
    return virtual_time.play(Scene, lambda scene: scene.signalling.run(), act, afterwards=seconds)


def test_what_was_said_before_and_what_is_pushed_comes_once_and_in_order() -> None:
    async def talk(scene: Scene) -> None:
        scene.keybase.post(CHAT, "before")
        await asyncio.sleep(1)
        scene.keybase.post(CHAT, "pushed")

    scene = play(talk, 2 * RECONCILE)

    assert scene.texts == ["before", "pushed"]
    assert scene.at("pushed") == 1
    assert scene.healths == [
        (0, SignallingHealth(connected=True)),
        (0, SignallingHealth(connected=True, complete=True)),
    ]
    assert len(scene.keybase.listeners) == 1


def test_history_comes_page_by_page_and_only_the_last_page_is_the_last() -> None:
    async def talk(scene: Scene) -> None:
        scene.keybase.page = 2
        for number in range(5):
            scene.keybase.post(CHAT, f"{number}")

    scene = play(talk)

    assert scene.texts == ["3", "4", "1", "2", "0"]
    assert scene.more == [True, True, False]


def test_history_that_breaks_off_is_read_again_and_nothing_comes_twice() -> None:
    async def talk(scene: Scene) -> None:
        scene.keybase.page = 2
        scene.keybase.pages_fail_after = 2
        for number in range(5):
            scene.keybase.post(CHAT, f"{number}")
        await asyncio.sleep(0.1)
        assert scene.texts == ["3", "4", "1", "2"]
        assert scene.more == [True, False], "what there is counts at once"
        scene.keybase.pages_fail_after = 1_000

    scene = play(talk)

    assert scene.texts == ["3", "4", "1", "2", "0"]
    assert scene.health.connected


def test_what_is_pushed_hides_no_history_that_could_not_be_read_yet() -> None:
    async def talk(scene: Scene) -> None:
        for number in range(200):
            scene.keybase.post(CHAT, f"{number}")
        scene.keybase.reads_fail[CHAT] = KeybaseError("a message cannot be unboxed")
        await asyncio.sleep(1)
        scene.keybase.post(CHAT, "pushed")
        await asyncio.sleep(1)
        assert scene.texts == ["pushed"]
        del scene.keybase.reads_fail[CHAT]

    scene = play(talk, 2 * RECONCILE)

    assert scene.texts == ["pushed", *(f"{number}" for number in range(200))]


def test_both_channels_are_followed_by_one_listener() -> None:
    async def talk(scene: Scene) -> None:
        await asyncio.sleep(1)
        scene.keybase.post(DEV, "in DEV")
        scene.keybase.post(CHAT, "in chat")

    scene = play(talk)

    assert (scene.texts, scene.dev) == (["in chat"], ["in DEV"])
    assert len(scene.keybase.listeners) == 1


def test_what_is_known_is_complete_only_once_the_other_channel_has_been_read() -> None:
    async def talk(scene: Scene) -> None:
        scene.keybase.post(CHAT, "in chat")
        scene.keybase.post(DEV, "in DEV")

    scene = play(talk)

    assert scene.dev_when_complete == ["in DEV"]


def test_a_push_that_got_lost_is_read_within_a_minute() -> None:
    async def lose(scene: Scene) -> None:
        await asyncio.sleep(1)
        scene.keybase.deaf = True
        scene.keybase.post(CHAT, "lost")
        scene.keybase.deaf = False

    scene = play(lose, 2 * RECONCILE)

    assert scene.at("lost") <= RECONCILE + 1


def test_a_service_that_goes_and_comes_is_followed_again_and_nothing_is_missed() -> None:
    async def outage(scene: Scene) -> None:
        await asyncio.sleep(1)
        scene.keybase.failure = AWAY
        scene.keybase.end_listener()
        scene.keybase.post(CHAT, "meanwhile")
        await asyncio.sleep(600)
        scene.keybase.failure = None

    scene = play(outage, 2 * LAST_RETRY)

    assert scene.health == SignallingHealth(connected=True, complete=True)
    assert 601 <= scene.at("meanwhile") <= 601 + 1.25 * LAST_RETRY
    told = [at for at, health in scene.healths if health.error is not None]
    assert told[0] == 1, "at once"
    # Doubling up to half a minute: no more than a try or two a minute.
    assert 600 / (1.25 * LAST_RETRY) <= len(told) <= 600 / (0.75 * LAST_RETRY) + 8


def test_while_nobody_is_logged_in_that_is_what_is_told() -> None:
    async def log_out(scene: Scene) -> None:
        scene.keybase.failure = LoggedOutError("nobody is logged in")
        await asyncio.sleep(100)
        assert isinstance(scene.health.error, LoggedOutError)
        scene.keybase.failure = None

    assert play(log_out, 2 * LAST_RETRY).health.connected


def test_a_network_that_is_away_leaves_a_listener_alive_and_silent_and_reads_tell() -> None:
    async def offline(scene: Scene) -> None:
        await asyncio.sleep(1)
        scene.keybase.deaf = True
        scene.keybase.failure = AWAY
        scene.keybase.post(CHAT, "missed")
        await asyncio.sleep(400)
        assert scene.health.error is AWAY
        scene.keybase.failure, scene.keybase.deaf = None, False

    scene = play(offline, LAST_RETRY * 2)

    assert scene.at("missed") <= 401 + 1.25 * LAST_RETRY
    assert scene.health.connected


def test_a_deaf_listener_is_replaced() -> None:
    async def deafen(scene: Scene) -> None:
        await asyncio.sleep(1)
        scene.keybase.deaf = True
        scene.keybase.post(CHAT, "unheard")
        await asyncio.sleep(RECONCILE + GRACE)
        scene.keybase.deaf = False
        scene.keybase.post(CHAT, "heard")

    scene = play(deafen)

    assert len(scene.keybase.listeners) == 2
    assert scene.at("heard") == 1 + RECONCILE + GRACE
    assert all(health.connected and not health.deaf for _, health in scene.healths)


def test_if_every_listener_is_deaf_reads_become_frequent_and_health_says_so() -> None:
    async def deafen(scene: Scene) -> None:
        await asyncio.sleep(1)
        scene.keybase.deaf = True
        for number in range(60):
            scene.keybase.post(CHAT, f"{number}")
            await asyncio.sleep(10)
        assert scene.health == SignallingHealth(connected=True, deaf=True, complete=True)
        scene.keybase.deaf = False
        scene.keybase.post(CHAT, "heard")

    scene = play(deafen)

    assert sorted(scene.texts) == sorted([*map(str, range(60)), "heard"])
    assert len(scene.keybase.listeners) <= 2 + 600 / REJOIN + 1
    late = [scene.at(f"{number}") - (1 + 10 * number) for number in range(20, 60)]
    assert max(late) <= DEAF_RECONCILE + GRACE
    assert scene.health == SignallingHealth(connected=True, complete=True)


def test_a_push_that_comes_a_little_late_is_no_deafness() -> None:
    async def slow(scene: Scene) -> None:
        scene.keybase.push_delay = GRACE / 2
        await asyncio.sleep(1)
        for _ in range(100):
            scene.keybase.post(CHAT, "x")
            await asyncio.sleep(3)

    assert len(play(slow).keybase.listeners) == 1


def test_a_channel_that_cannot_be_read_is_heard() -> None:
    async def break_reads(scene: Scene) -> None:
        scene.keybase.post(CHAT, "old")
        scene.keybase.reads_fail[CHAT] = KeybaseError("CHAT CONSISTENCY ERROR")
        await asyncio.sleep(1)
        scene.keybase.post(CHAT, "pushed")
        await asyncio.sleep(1)
        assert scene.texts == ["pushed"]
        assert "CONSISTENCY" in str(scene.health.error)
        scene.keybase.reads_fail.clear()

    scene = play(break_reads, RECONCILE)

    assert scene.texts == ["pushed", "old"]
    assert scene.health.connected


def test_a_refusal_is_waited_out_for_as_long_as_it_says() -> None:
    async def refuse(scene: Scene) -> None:
        scene.keybase.failure = RateLimitedError("too many calls", 200.0)
        await asyncio.sleep(150)
        scene.keybase.failure = None

    scene = play(refuse, 100)

    assert [name for _, name in scene.keybase.calls][:2] == ["join", "join"]
    assert scene.keybase.calls[1][0] >= 200


def test_the_channel_that_is_not_needed_may_be_missing_and_is_looked_for_again() -> None:
    async def refuse(scene: Scene) -> None:
        scene.keybase.refused.add(DEV)
        await asyncio.sleep(100)
        assert scene.health.connected
        scene.keybase.refused.clear()
        scene.keybase.post(DEV, "there")

    scene = play(refuse, REJOIN + RECONCILE)

    assert scene.dev == ["there"]
    assert len(scene.keybase.listeners) == 2
    assert all(health.connected for _, health in scene.healths)


def test_something_that_cannot_be_shown_is_followed_by_a_read_but_not_by_a_flood() -> None:
    async def noise(scene: Scene) -> None:
        await asyncio.sleep(10)
        for _ in range(1000):
            scene.keybase.push_noise()
            await asyncio.sleep(0.01)

    scene = play(noise, 1.0)

    assert 2 <= scene.reads(10, 21) <= 2 * (10 / LOOK_SPACING + 2)


def test_a_change_of_the_network_is_followed_by_a_read() -> None:
    async def change(scene: Scene) -> None:
        await asyncio.sleep(10)
        scene.keybase.deaf = True
        scene.keybase.post(CHAT, "missed")
        scene.signalling.look()

    assert play(change).at("missed") == pytest.approx(10, abs=0.1)


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 40.0),
            st.sampled_from(["post", "post", "post", "deaf", "hear", "away", "back", "end"]),
        ),
        min_size=5,
        max_size=40,
    )
)
def test_whatever_befalls_the_service_every_message_comes_once(
    events: list[tuple[float, str]],
) -> None:
    async def befall(scene: Scene) -> None:
        keybase = scene.keybase
        for number, (pause, event) in enumerate(events):
            await asyncio.sleep(pause)
            match event:
                case "post":
                    keybase.post(CHAT, f"{number}")
                case "deaf" | "hear":
                    keybase.deaf = event == "deaf"
                case "away" | "back":
                    keybase.failure = AWAY if event == "away" else None
                case _:
                    keybase.end_listener()
        keybase.failure, keybase.deaf = None, False

    scene = play(befall, LAST_RETRY * 1.25 + RECONCILE + GRACE)

    posted = [f"{n}" for n, (_, event) in enumerate(events) if event == "post"]
    assert sorted(scene.texts) == sorted(posted)
    assert scene.health.connected
