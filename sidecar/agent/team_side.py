"""The agent's side towards Keybase: what the team says reaches the mesh, what we say the team.

What cannot be read is health and stays in force. The directory is believed once chat, members and
`peers.json` have all been read.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nat.io.driver import Mutate

from ..health import Condition, Health
from ..keybase.channel import AnnounceChannel, ChannelHealth
from ..keybase.client import KeybaseClient
from ..keybase.models import Channel, ChatMessage, Membership
from ..peers_file import PeersFile
from ..store import Store
from ..team_config import TeamConfig
from .announcer import Announcer
from .cache_keeper import CacheKeeper
from .device_watch import DeviceWatch
from .machines import Machines
from .staleness import StalenessWatch
from .start import Started
from .team_reader import TeamReader
from .wall_clock import wall


class TeamSide:
    """Reads chat, members, devices and the team's files; posts what we announce.

    Args:
        started: what the start found out.
        machines: told of what the team says.
        client: Keybase.
        store: where what is known is kept.
        health: told of what cannot be read.
        mutate: has the machines changed and driven.
        on_team_config: gets `kbwg.json` after every look that found it readable, and its text.
    """

    def __init__(
        self,
        started: Started,
        machines: Machines,
        *,
        client: KeybaseClient,
        store: Store,
        health: Health,
        mutate: Mutate,
        on_team_config: Callable[[TeamConfig, bytes | None], None],
    ) -> None:
        self._own = started.node
        self._topic = started.settings.topic
        self._directory = machines.directory
        self._mesh = mesh = machines.mesh
        self._client = client
        self._store = store
        self._health = health
        self._mutate = mutate
        self._caught_up = False
        self._judged = 0
        self._peers_file_read = False
        settings = started.settings
        self._channel = AnnounceChannel(
            client,
            Channel(settings.team, settings.topic),
            wall=wall,
            on_health=self._on_channel_health,
        )
        self._announcer = Announcer(
            self._channel.post,
            mesh,
            machines.directory,
            on_posted=lambda announcement, id_: mutate(
                lambda now: mesh.posted(announcement, id_, now)
            ),
            interval=settings.announce_interval_seconds,
            wall=wall,
        )
        self._reader = TeamReader(
            client,
            team=settings.team,
            subnet=settings.subnet,
            membership_interval=settings.membership_interval_seconds,
            health=health,
            on_membership=self._on_membership,
            on_peers_file=self._on_peers_file,
            on_team_config=on_team_config,
        )
        self._device_watch = DeviceWatch(
            client, usernames=lambda: mesh.usernames, on_devices=self._on_devices
        )
        self._staleness = StalenessWatch(
            settings.max_stale_seconds,
            age=0.0 if started.membership else store.directory_age(wall()),
            on_change=self._on_staleness,
        )
        self._cache = CacheKeeper(
            store, machines.directory, settings.team, health, peers_file_known=machines.restored
        )

    def parts(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what runs until it is cancelled."""
        return (
            self._channel.run(self._on_messages),
            self._reader.run(),
            self._device_watch.run(),
            self._staleness.run(),
            self._announcer.run(),
            self._cache.run(),
        )

    def announcement_changed(self) -> None:
        """Post soon: what we announce is not what is announced."""
        self._announcer.changed()

    def directory_changed(self) -> None:
        """Keep soon what is known."""
        self._cache.changed()

    async def say_goodbye(self) -> None:
        """Post LEAVE, so that peers drop us at once; give up after a short while."""
        await self._announcer.say_goodbye()

    @property
    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """What was dropped and what failed, by part."""
        return {"directory": self._directory.counters, "keybase": self._client.counters}

    # What Keybase says ------------------------------------------------------------------------

    def _on_messages(self, messages: Sequence[ChatMessage]) -> None:
        for message in messages:
            if message.sender == self._own and message.text is not None:
                self._judge_retention(message)
        self._mutate(lambda now: self._mesh.handle_messages(messages, now))

    def _judge_retention(self, message: ChatMessage) -> None:
        """Read off our newest post what the channel does to posts; policies do get changed."""
        if message.id < self._judged:
            return
        self._judged = message.id
        text = (
            f"the retention policy of #{self._topic} makes our posts vanish: give the channel "
            "another policy, or set KBWG_TOPIC to another channel"
        )
        cases = [("", text)] if message.exploding else []
        self._health.replace(Condition.CHANNEL_EXPLODES, cases, now=datetime.now(UTC))

    def _on_channel_health(self, health: ChannelHealth) -> None:
        if health.connected:
            self._health.clear(Condition.KEYBASE_UNREACHABLE)
            self._caught_up = True
            self._consider_loaded()
        else:
            text = f"Keybase chat cannot be reached, what is known stays in force: {health.error}"
            self._health.set(Condition.KEYBASE_UNREACHABLE, text, now=datetime.now(UTC))

    def _on_membership(self, membership: Membership) -> None:
        self._mutate(lambda now: self._mesh.handle_membership(membership, now))
        self._staleness.refreshed()
        self._store.confirm_directory()
        self._consider_loaded()

    def _on_devices(self, username: str, ids: frozenset[str]) -> None:
        self._mutate(lambda now: self._mesh.handle_devices(username, ids, wall=wall(), now=now))

    def _on_staleness(self, stale: bool) -> None:
        text = (
            "Keybase has been away for longer than KBWG_MAX_STALE_SECONDS: peers are dropped until "
            "the team's members can be read again"
        )
        cases = [("", text)] if stale else []
        self._health.replace(Condition.KEYBASE_STALE, cases, now=datetime.now(UTC))
        self._mutate(lambda now: self._mesh.handle_staleness(stale, now))

    def _on_peers_file(self, peers_file: PeersFile | None) -> None:
        self._peers_file_read = self._cache.peers_file_known = True
        if not self._mesh.loaded or peers_file != self._directory.peers_file:
            self._mutate(lambda now: self._mesh.handle_peers_file(peers_file, now))
        self._consider_loaded()

    def _consider_loaded(self) -> None:
        """Believe the directory once chat, members and `peers.json` have all been read."""
        if self._caught_up and self._peers_file_read and self._directory.membership is not None:
            self._mutate(self._mesh.set_loaded)
