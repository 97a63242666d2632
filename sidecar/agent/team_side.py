"""The agent's side towards Keybase: what the team says reaches the mesh, what we say the team.

What cannot be read is health and stays in force. The directory is believed once chat, members and
`peers.json` have all been read.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from random import SystemRandom
from typing import Any, Final

from nat.io.driver import Mutate

from ..errors import KeybaseError, LoggedOutError, RateLimitedError
from ..health import Condition, Health
from ..keybase.announce_channel import AnnounceChannel
from ..keybase.client import KeybaseClient
from ..keybase.models import ChatMessage, Membership, TopicType
from ..keybase.signalling import Signalling, SignallingHealth
from ..peers_file import PeersFile
from ..store import Store
from ..team_config import TeamConfig
from .announcer import Announcer
from .cache_keeper import CacheKeeper
from .device_watch import DeviceWatch
from .machines import Machines
from .negotiation_keeper import NegotiationKeeper
from .server_clock import ServerClock
from .service_renewal import ServiceRenewal
from .staleness import StalenessWatch
from .start import Started
from .team_reader import TeamReader
from .wall_clock import wall

KEYBASE_CONDITIONS: Final = (
    Condition.KEYBASE_LOGGED_OUT,
    Condition.KEYBASE_RATE_LIMITED,
    Condition.KEYBASE_UNREACHABLE,
)
"""Why chat cannot be read: one of these at a time."""

DEAF_TEXT: Final = (
    "Keybase shows messages to who reads them and pushes none: peers are found more slowly until "
    "its service is started again"
)


def condition_of(error: KeybaseError) -> Condition:
    """Return what an operator calls a failure."""
    match error:
        case LoggedOutError():
            return Condition.KEYBASE_LOGGED_OUT
        case RateLimitedError():
            return Condition.KEYBASE_RATE_LIMITED
        case _:
            return Condition.KEYBASE_UNREACHABLE


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
        self._topic = started.settings.topic
        self._directory = machines.directory
        self._mesh = mesh = machines.mesh
        self._client = client
        self._store = store
        self._health = health
        self._mutate = mutate
        self._caught_up = False
        self._peers_file_read = False
        settings = started.settings
        self._clock = ServerClock(wall, self._on_clock)
        self._channel = AnnounceChannel(
            client,
            team=settings.team,
            topic=settings.topic,
            kind=TopicType(settings.topic_type),
            own=started.node,
            deliver=self._on_messages,
            on_explodes=self._on_explodes,
        )
        self._negotiation = NegotiationKeeper(
            client,
            team=settings.team,
            own=started.node,
            mesh=mesh,
            mutate=mutate,
            wall=self._clock.now,
        )
        self._negotiates = settings.negotiation
        feeds = [*self._channel.feeds]
        if self._negotiates:
            feeds.append(self._negotiation.feed)
        self._signalling = Signalling(
            client, feeds, wall=self._clock.now, on_health=self._on_signalling
        )
        self._announcer = Announcer(
            self._channel.post,
            mesh,
            machines.directory,
            own=started.node,
            on_posted=lambda announcement, id_: mutate(
                lambda now: mesh.posted(announcement, id_, now)
            ),
            on_trouble=self._on_post_trouble,
            interval=settings.announce_interval_seconds,
            clock=self._clock,
            rng=SystemRandom(),
        )
        self._reader = TeamReader(
            client,
            team=settings.team,
            subnet=settings.subnet,
            interval=settings.membership_interval_seconds,
            health=health,
            on_membership=self._on_membership,
            on_peers_file=self._on_peers_file,
            on_team_config=on_team_config,
        )
        self._device_watch = DeviceWatch(
            client, usernames=lambda: mesh.usernames, on_devices=self._on_devices
        )
        self._renewal = ServiceRenewal(client.end_service)
        self._renews = settings.supervised
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
        negotiation = (self._negotiation.run(),) if self._negotiates else ()
        renewal = (self._renewal.run(),) if self._renews else ()
        return (
            *negotiation,
            *renewal,
            self._signalling.run(),
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

    def network_changed(self) -> None:
        """Read soon: what was posted while the network was away has not been pushed."""
        self._signalling.look()

    async def say_goodbye(self) -> None:
        """Post LEAVE, so that peers drop us at once; give up after a short while."""
        await self._announcer.say_goodbye()

    @property
    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """What was dropped and what failed, by part."""
        return {
            "directory": self._directory.counters,
            "keybase": self._client.counters,
            "negotiation": self._negotiation.counters,
        }

    # What Keybase says ------------------------------------------------------------------------

    def _on_messages(self, messages: Sequence[ChatMessage], more: bool) -> None:
        self._mutate(lambda now: self._mesh.handle_messages(messages, now, more=more))
        self._announcer.handle_messages(messages)
        if self._caught_up:
            # Older ones were decrypted just now, or long ago: in neither case is there news of anybody.
            said = (m.sender for m in messages if m.text is not None)
            self._device_watch.heard(node.username for node in said if node is not None)

    def _on_explodes(self, explodes: bool) -> None:
        text = (
            f"a retention policy makes what is posted to #{self._topic} explode: we post to the DEV "
            "topic of that name, which kb-wireguard does not read; give the channel another policy and "
            "say something in it"
        )
        self._replace(Condition.CHANNEL_EXPLODES, text if explodes else None)
        self._announcer.changed()

    def _on_signalling(self, health: SignallingHealth) -> None:
        for condition in KEYBASE_CONDITIONS:
            if health.error is None or condition is not condition_of(health.error):
                self._health.clear(condition)
        if health.error is not None:
            text = f"chat cannot be read, what is known stays in force: {health.error}"
            self._replace(condition_of(health.error), text)
        self._replace(Condition.KEYBASE_DEAF, DEAF_TEXT if health.deaf else None)
        self._renewal.note(deaf=health.deaf)
        if health.complete:
            self._caught_up = True
            self._consider_loaded()

    def _on_post_trouble(self, error: KeybaseError | None) -> None:
        text = f"our announcement cannot be posted: {error}"
        self._replace(Condition.NOT_ANNOUNCED, None if error is None else text)

    def _on_clock(self, ahead: float) -> None:
        side = "ahead of" if ahead > 0 else "behind"
        text = f"this host's clock is {abs(ahead):.0f} s {side} Keybase's: set it right (NTP)"
        self._replace(Condition.CLOCK_DIFFERS, text if ahead else None)
        # The number of the line that told was of a wrong clock: nobody may have believed it.
        self._announcer.changed()

    def _replace(self, condition: Condition, text: str | None) -> None:
        cases = [] if text is None else [("", text)]
        self._health.replace(condition, cases, now=datetime.now(UTC))

    def _on_membership(self, membership: Membership) -> None:
        known = self._directory.membership
        if known is not None and known.generation != membership.generation:
            self._device_watch.hurry()
        self._mutate(lambda now: self._mesh.handle_membership(membership, now))
        self._staleness.refreshed()
        self._store.confirm_directory()
        self._consider_loaded()

    def _on_devices(self, username: str, ids: frozenset[str]) -> None:
        self._mutate(
            lambda now: self._mesh.handle_devices(username, ids, wall=self._clock.now(), now=now)
        )

    def _on_staleness(self, stale: bool) -> None:
        text = (
            "Keybase has been away for longer than KBWG_MAX_STALE_SECONDS: peers are dropped until "
            "the team's members can be read again"
        )
        self._replace(Condition.KEYBASE_STALE, text if stale else None)
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
