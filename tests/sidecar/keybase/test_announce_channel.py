"""Announcements in chat and in the DEV topic: both read, one posted to, one order."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from sidecar.identity import NodeId
from sidecar.keybase.announce_channel import DEV_IDS, AnnounceChannel
from sidecar.keybase.models import Channel, ChatMessage, TopicType

from ...support.keybase import BOB, MemoryKeybase

CHAT = Channel("acme", "announce")
DEV = Channel("acme", "announce", TopicType.DEV)

ALICE = NodeId("alice", "a" * 32, "laptop")
LINE = "ANNOUNCE 192.0.2.1:4000 key"


class Scene:
    """A Keybase, the channel, and what it has delivered."""

    def __init__(self, kind: TopicType = TopicType.CHAT) -> None:
        self.keybase = MemoryKeybase()
        self.delivered: list[ChatMessage] = []
        self.explodes: list[bool] = []
        self.channel = AnnounceChannel(
            self.keybase,
            team="acme",
            topic="announce",
            kind=kind,
            own=ALICE,
            deliver=lambda messages, _: self.delivered.extend(messages),
            on_explodes=self.explodes.append,
        )
        self.receive = {feed.channel: feed.deliver for feed in self.channel.feeds}

    def posted(self, channel: Channel) -> list[str | None]:
        return [message.text for message in self.keybase.channels.get(channel, [])]


def message(
    id_: int, text: str | None = LINE, *, exploding: bool = False, sender: NodeId = ALICE
) -> ChatMessage:
    return ChatMessage(id_, sender, 1_780_000_000.0, text, exploding=exploding)


def play(play: Callable[[], Awaitable[None]]) -> None:
    async def scenario() -> None:
        await play()

    asyncio.run(scenario())


def test_posts_go_to_chat_and_to_dev_only_by_choice() -> None:
    async def post() -> None:
        chat, dev = Scene(), Scene(TopicType.DEV)
        assert await chat.channel.post("one") == 1
        assert await dev.channel.post("one") == DEV_IDS + 1
        assert (chat.posted(CHAT), chat.posted(DEV)) == (["one"], [])
        assert (dev.posted(CHAT), dev.posted(DEV)) == ([], ["one"])

    play(post)


@pytest.mark.parametrize("kind", TopicType)
def test_both_are_followed_and_only_the_one_that_we_post_to_is_needed(kind: TopicType) -> None:
    first, second = Scene(kind).channel.feeds

    assert (first.channel.topic_type, first.needed, second.needed) == (kind, True, False)
    assert first.create
    assert second.create == (kind is TopicType.CHAT), "nobody needs to see an empty channel"


def test_all_of_chat_comes_before_all_of_dev_whatever_its_messages_name() -> None:
    scene = Scene()
    scene.receive[DEV]([replace(message(7, None), edits=3, deletes=(4, 5), vanished=2)], False)
    scene.receive[CHAT]([replace(message(10**9, None), edits=3)], False)

    dev, chat = scene.delivered
    assert (dev.id, dev.edits, dev.vanished) == (DEV_IDS + 7, DEV_IDS + 3, DEV_IDS + 2)
    assert dev.deletes == (DEV_IDS + 4, DEV_IDS + 5)
    assert (chat.id, chat.edits) == (10**9, 3)
    assert chat.id < dev.id < 2**53, "a JSON number"


def test_once_announcements_in_chat_explode_nothing_more_is_posted_there() -> None:
    async def post() -> None:
        scene = Scene()
        await scene.channel.post("first")
        scene.receive[CHAT]([message(1, exploding=True)], False)
        assert scene.explodes == [True]
        assert await scene.channel.post("second") == DEV_IDS + 1
        assert (scene.posted(CHAT), scene.posted(DEV)) == (["first"], ["second"])

        # Another policy, and what was posted before we knew.
        scene.receive[CHAT]([message(2)], False)
        await scene.channel.post("third")
        assert scene.explodes == [True, False]
        assert scene.posted(CHAT) == ["first", "third"]

    play(post)


def test_what_others_let_explode_says_nothing_nor_does_an_older_announcement() -> None:
    scene = Scene()
    scene.receive[CHAT]([message(9, exploding=True, sender=BOB)], False)
    scene.receive[CHAT]([message(5), message(6, "secret lunch", exploding=True)], False)
    scene.receive[CHAT]([message(4, exploding=True)], False)

    assert scene.explodes == []


@pytest.mark.parametrize("sender", [BOB, ALICE, None], ids=["another", "our user", "unnamed"])
def test_a_later_text_of_anybody_that_stays_brings_announcements_back_to_chat(
    sender: NodeId | None,
) -> None:
    async def post() -> None:
        scene = Scene()
        scene.receive[CHAT]([message(7, exploding=True)], False)
        scene.receive[CHAT]([replace(message(8, "the policy is gone"), sender=sender)], False)
        assert scene.explodes == [True, False]
        assert await scene.channel.post("first") == 1
        assert (scene.posted(CHAT), scene.posted(DEV)) == (["first"], [])

        # It was not: ours explodes again, and nobody's older text says otherwise.
        scene.receive[CHAT]([message(9, exploding=True)], False)
        scene.receive[CHAT]([message(8, "the policy is gone", sender=BOB)], False)
        assert scene.explodes == [True, False, True]

    play(post)


def test_what_was_said_before_ours_exploded_or_is_no_text_brings_nothing_back() -> None:
    scene = Scene()
    scene.receive[CHAT]([message(7, exploding=True)], False)

    scene.receive[CHAT]([message(6, sender=BOB), message(8, None, sender=BOB)], False)
    scene.receive[CHAT]([message(9, exploding=True, sender=BOB)], False)
    scene.receive[DEV]([message(10, sender=BOB)], False)

    assert scene.explodes == [True]


def test_who_posts_to_dev_does_not_care() -> None:
    scene = Scene(TopicType.DEV)
    scene.receive[CHAT]([message(1, exploding=True)], False)

    assert scene.explodes == []
    assert len(scene.delivered) == 1


def test_an_older_page_in_which_ours_explodes_says_nothing_if_a_later_text_stayed() -> None:
    scene = Scene()

    scene.receive[CHAT]([message(8, "hello", sender=BOB)], True)
    scene.receive[CHAT]([message(7, exploding=True)], False)

    assert scene.explodes == []
