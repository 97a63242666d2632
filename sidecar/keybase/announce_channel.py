"""Where announcements are read and posted: one topic, in chat and in the DEV topic of that name.

Both are read, always; posted is to one of them (design S1). A retention policy can make what is
posted to chat explode, and running predecessors crash at a message that they cannot decrypt; so as
soon as our own announcement in chat is seen to explode we post to the DEV topic, which policies
spare. What others let explode says nothing: anybody can. What stays of theirs says all: under such
a policy every client lets its texts explode, so one that does not ends our exile. Should it come
from a client that knows no such policies, our next announcement tells.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from ..identity import NodeId
from .client import KeybaseClient
from .models import Channel, ChatMessage, TopicType
from .reader import Deliver, Feed

_log = logging.getLogger(__name__)

DEV_IDS: Final = 2**40
"""Added to ids of the DEV topic: they are a conversation's own, and each message needs one that is
nobody else's. A conversation never gets so long."""

_BEGINNINGS: Final = ("ANNOUNCE ", "KBWG2 ", "LEAVE ")
"""What announcements begin with: our user may let other texts explode on this device."""


class AnnounceChannel:
    """The feeds of the announcements, and where to post.

    Args:
        client: Keybase.
        team: whose channel.
        topic: its name.
        kind: where we post by choice.
        own: this device.
        deliver: gets every message of both once, with an id of its own.
        on_explodes: told when our announcements in chat begin to explode, and when they would not
            any more.
    """

    def __init__(
        self,
        client: KeybaseClient,
        *,
        team: str,
        topic: str,
        kind: TopicType,
        own: NodeId,
        deliver: Deliver,
        on_explodes: Callable[[bool], None],
    ) -> None:
        self._client = client
        self._chat = Channel(team, topic, TopicType.CHAT)
        self._dev = Channel(team, topic, TopicType.DEV)
        self._kind = kind
        self._own = own
        self._deliver = deliver
        self._on_explodes = on_explodes
        self._explodes = False
        self._newest = 0

    @property
    def feeds(self) -> tuple[Feed, Feed]:
        """What must be followed; the one that we post to comes first."""
        in_chat = self._kind is TopicType.CHAT
        # A team that speaks in DEV needs no channel that people see.
        chat = Feed(self._chat, self._receive_chat, create=in_chat, needed=in_chat)
        dev = Feed(self._dev, self._receive_dev, needed=not in_chat)
        return (chat, dev) if in_chat else (dev, chat)

    async def post(self, body: str) -> int:
        """Post a text; return the id that it is delivered with; raise `KeybaseError`."""
        if self._kind is TopicType.CHAT and not self._explodes:
            return await self._client.send(self._chat, body)
        return await self._client.send(self._dev, body) + DEV_IDS

    def _receive_chat(self, messages: Sequence[ChatMessage], more: bool) -> None:
        for message in messages:
            # History comes with the newest page first, so what stayed counts before it is asked for.
            if message.text is not None and self._tells(message, message.text):
                self._consider(message)
        self._deliver(messages, more)

    def _tells(self, message: ChatMessage, text: str) -> bool:
        """Say whether a text shows what would become of ours."""
        ours = message.sender == self._own and text.startswith(_BEGINNINGS)
        return ours or not message.exploding

    def _consider(self, message: ChatMessage) -> None:
        """Learn from the newest text that tells whether what is posted explodes."""
        if message.id < self._newest:
            return
        self._newest = message.id
        if message.exploding != self._explodes:
            self._explodes = message.exploding
            if self._kind is TopicType.CHAT:
                _log.warning(
                    "announcements explode" if self._explodes else "announcements stay",
                    extra={"channel": self._chat.topic},
                )
                self._on_explodes(self._explodes)

    def _receive_dev(self, messages: Sequence[ChatMessage], more: bool) -> None:
        self._deliver([_in_order(message) for message in messages], more)


def _in_order(message: ChatMessage) -> ChatMessage:
    return replace(
        message,
        id=message.id + DEV_IDS,
        edits=None if message.edits is None else message.edits + DEV_IDS,
        deletes=tuple(id_ + DEV_IDS for id_ in message.deletes),
        vanished=None if message.vanished is None else message.vanished + DEV_IDS,
    )
