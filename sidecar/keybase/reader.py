"""One channel as it is read: every message once, whether a push or a read brought it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ..directory.ledger import WINDOW
from .client import KeybaseClient
from .models import Channel, ChatMessage

HISTORY: Final = WINDOW
"""Seconds of history that a start reads: what claims of addresses are judged by."""

OVERLAP: Final = 50
"""Messages below the newest known one that are read again: what came in out of order is there."""

REMEMBERED: Final = 20_000
"""Ids of delivered messages that are kept, to deliver none twice."""

Deliver = Callable[[Sequence[ChatMessage], bool], None]
"""Gets messages, and whether more follow at once, which are to be looked at together with these."""


@dataclass(frozen=True, slots=True)
class Feed:
    """A channel that we follow.

    Attributes:
        deliver: gets each message once.
        create: whether the channel is made if it does not exist.
        needed: whether Keybase counts as out of reach without it.
        history: whether what was said before matters; if not, only pushes are delivered.
    """

    channel: Channel
    deliver: Deliver
    create: bool = True
    needed: bool = True
    history: bool = True


class ChannelReader:
    """Delivers the messages of one feed, and notices which of them no push has brought.

    Args:
        client: Keybase.
        feed: what is followed.
        wall: returns the seconds since the epoch.
    """

    def __init__(self, client: KeybaseClient, feed: Feed, *, wall: Callable[[], float]) -> None:
        self.feed = feed
        self.present = False
        """Whether the channel exists and we are in it."""
        self._client = client
        self._wall = wall
        self._delivered: dict[int, None] = {}
        self._head = 0  # of what was read: what is pushed may leave gaps below it
        self._unheard: set[int] = set()

    async def enter(self) -> None:
        """Join the channel, so that it is pushed to us.

        Raises:
            KeybaseError: Keybase is away, or refuses.
        """
        self.present = False
        if self.feed.create:
            await self._client.join(self.feed.channel)
            self.present = True
        else:
            self.present = await self._client.join_existing(self.feed.channel)

    async def catch_up(self) -> None:
        """Read what is new since the last time.

        Raises:
            KeybaseError: Keybase is away, or the channel cannot be read.
        """
        if not (self.feed.history and self.present):
            return
        newest = self._head
        held: list[ChatMessage] = []
        try:
            async for page in self._client.read(
                self.feed.channel,
                after=max(0, self._head - OVERLAP),
                history=HISTORY if self._head == 0 else None,
                now=self._wall(),
            ):
                newest = max([newest, *(message.id for message in page)])
                fresh = [message for message in page if message.id not in self._delivered]
                if fresh:
                    self._find(held, more=True)
                    held = fresh
        finally:
            # Also if the rest cannot be read now: it is read again, and these are not delivered twice.
            self._find(held, more=False)
        self._head = newest

    def hear(self, message: ChatMessage) -> None:
        """Take in a push."""
        self._unheard.discard(message.id)
        self._hand_over([message], more=False)

    def begin_to_listen(self) -> None:
        """Expect a push of everything from now on."""
        self._unheard.clear()

    @property
    def unheard(self) -> frozenset[int]:
        """Texts that a read has found and no push has brought since we listen."""
        return frozenset(self._unheard)

    def _find(self, messages: Sequence[ChatMessage], *, more: bool) -> None:
        """Take in what a read has found."""
        fresh = self._hand_over(messages, more=more)
        # Exploding ones, and what is not a text, may be pushed otherwise, or not at all.
        self._unheard.update(m.id for m in fresh if m.text is not None and not m.exploding)

    def _hand_over(self, messages: Sequence[ChatMessage], *, more: bool) -> list[ChatMessage]:
        fresh = [message for message in messages if message.id not in self._delivered]
        for message in fresh:
            self._delivered[message.id] = None
        while len(self._delivered) > REMEMBERED:
            del self._delivered[next(iter(self._delivered))]
        if fresh:
            self.feed.deliver(sorted(fresh, key=lambda message: message.id), more)
        return fresh
