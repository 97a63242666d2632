"""Asks peers that cannot be reached to check at once, and does so when asked (design S5)."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from nat.candidate import Candidate
from nat.io.driver import Mutate

from ..errors import KeybaseError
from ..identity import NodeId
from ..keybase.budget import Priority
from ..keybase.client import KeybaseClient
from ..keybase.models import Channel, ChatMessage, TopicType
from ..keybase.reader import Feed
from ..mesh.mesh import Mesh
from ..mesh.negotiator import Negotiator
from ..negotiation import TOPIC, CheckRequest, encode

_log = logging.getLogger(__name__)

LOOK_INTERVAL: Final = 2.5
"""Seconds between looks for peers without a path."""


class NegotiationKeeper:
    """The negotiation of one host.

    Args:
        client: Keybase.
        team: whose DEV topic it is.
        own: this device.
        mesh: knows who has no path, and checks.
        mutate: has the mesh changed and driven.
        wall: returns the seconds since the epoch by Keybase's clock.
    """

    def __init__(
        self,
        client: KeybaseClient,
        *,
        team: str,
        own: NodeId,
        mesh: Mesh,
        mutate: Mutate,
        wall: Callable[[], float],
    ) -> None:
        self._client = client
        self._channel = Channel(team, TOPIC, TopicType.DEV)
        self._own = own
        self._mesh = mesh
        self._mutate = mutate
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._negotiator = Negotiator(own)
        self.counters = self._negotiator.counters

    @property
    def feed(self) -> Feed:
        """What has to be followed: only what is pushed from now on matters."""
        return Feed(self._channel, self._receive, needed=False, history=False)

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            now = self._loop.time()
            self._negotiator.observe(self._mesh.sought, now)
            request = self._negotiator.request(self._mesh.relays, now)
            if request is not None:
                await self._post(request)

    async def _post(self, request: CheckRequest) -> None:
        try:
            await self._client.send(self._channel, encode(request), Priority.BACKGROUND)
        except KeybaseError as error:
            _log.debug("request not posted", extra={"error": str(error)})
        else:
            _log.debug("peers asked for a check", extra={"peers": len(request.recipients)})

    def _receive(self, messages: Sequence[ChatMessage], _: bool) -> None:
        for message in messages:
            age = self._wall() - message.sent_at
            request = self._negotiator.heed(message, age=age, now=self._loop.time())
            if request is None or message.sender is None:
                continue
            if message.sender == self._own:
                for asked in request.recipients:
                    self._check(asked, ())
            else:
                self._check(message.sender.key, request.relays)

    def _check(self, key: tuple[str, str], relays: Sequence[Candidate]) -> None:
        self._mutate(lambda now: self._mesh.check_now(key, relays, now))
