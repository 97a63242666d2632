"""The agent: one TaskGroup around the mesh, from a successful start to an orderly end.

Order of the end: no more announcements; LEAVE, so that peers drop us at once; then the interface
and everything with it. With `KBWG_KEEP_ON_STOP` none of that: the tunnel stays for the next
start to adopt. Whatever cannot go on raises, and the process ends with an error.
"""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from ipaddress import IPv4Address
from pathlib import Path
from typing import Final, assert_never

from nat.errors import SharedPortError
from nat.gathering import HostAddress
from nat.io.driver import Driver
from nat.io.interfaces import HostNetwork, InterfaceWatch, endpoint_of
from nat.io.resolve import keep_resolved
from nat.io.shared_port import SharedPort
from nat.machine import Endpoint
from nat.path.events import StunServerChanged
from nat.traversal import Traversal

from . import cache, control
from .announcement import Leave, encode
from .device_keeper import DeviceKeeper
from .directory import Directory
from .errors import KbfsError, KeybaseError, PeersFileError, PrivilegeError, TeamError
from .health import Condition, Health
from .identity import PublicKey
from .keybase.channel import AnnounceChannel, ChannelHealth
from .keybase.client import KeybaseClient
from .keybase.models import Channel, ChatMessage
from .mesh import (
    AnnouncementChanged,
    DeviceChanged,
    DirectoryChanged,
    EndpointsChanged,
    Mesh,
    MeshEvent,
)
from .peers_file import parse_peers_file
from .schedule import AnnouncementSchedule
from .settings import STUN_PORT, Settings, parse_host_port
from .start import Started, alias_of
from .status import SelfStatus, Status
from .store import Store
from .wireguard.device import DeviceConfig, PeerState

_log = logging.getLogger(__name__)

LEAVE_PATIENCE: Final = 3.0
"""Seconds that a goodbye may take; then we go without one."""

PEERS_FILE_INTERVAL: Final = 30.0
"""Seconds between looks at `peers.json`: KBFS tells the CLI of no change."""

FIRST_LOOKS: Final = 2.0
"""Seconds until a failed first look at members or files is tried again."""

CACHE_DELAY: Final = 2.0
"""Seconds that a change of the directory waits to be stored with those that follow."""


class Agent:
    """A running sidecar.

    Args:
        settings: the environment.
        started: what the start found out.
        client: Keybase.
        store: the state directory.
    """

    def __init__(
        self, settings: Settings, started: Started, client: KeybaseClient, store: Store
    ) -> None:
        self._settings = settings
        self._started = started
        self._client = client
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._forced_down = False
        self._begun = datetime.now(UTC)
        self._health = Health()
        self._posting = asyncio.Event()
        self._cache_dirty = asyncio.Event()
        self._listed = False
        self._caught_up = False
        self._last_contact = self._loop.time()
        self._stun_state: dict[Endpoint, bool] = {}
        rng = secrets.SystemRandom()
        stored = store.load_directory()
        identity = started.identity
        self._directory = Directory(
            own=started.node,
            own_key=identity.private_key.public_key,
            subnet=settings.subnet,
            preferred=cache.preferred_address(stored),
        )
        restored = cache.restore(self._directory, stored, settings.team, settings.subnet)
        self._peers_file_known = restored
        if started.membership is not None:
            self._directory.handle_membership(started.membership)
        self._traversal = Traversal(rng=rng, now=self._loop.time(), refused=(settings.subnet,))
        self._mesh = Mesh(
            own=started.node,
            private_key=identity.private_key,
            subnet=settings.subnet,
            directory=self._directory,
            traversal=self._traversal,
            rng=rng,
        )
        self._schedule = AnnouncementSchedule(settings.announce_interval_seconds)
        self._port = SharedPort(
            identity.listen_port,
            mark=settings.fwmark,
            on_datagram=lambda datagram: self._driver.receive_datagram(datagram),
        )
        self._channel = AnnounceChannel(
            client,
            Channel(settings.team, settings.topic),
            wall=lambda: datetime.now(UTC).timestamp(),
            on_health=self._on_channel_health,
        )
        self._keeper = DeviceKeeper(
            started.backend,
            wanted=self._wanted_device,
            busy=lambda: self._mesh.busy,
            on_observed=self._on_observed,
            on_failure=self._on_device_failure,
        )
        self._driver: Driver[MeshEvent]
        if restored:
            self._mesh.set_loaded(self._loop.time())

    def stop(self) -> None:
        """End in order; called by signals."""
        self._stop.set()

    async def run(self) -> None:
        """Run until stopped.

        Raises:
            StartError: the shared port or the control socket cannot be opened.
        """
        try:
            self._port.open()
        except SharedPortError as error:
            raise PrivilegeError(str(error)) from error
        self._driver = Driver[MeshEvent](self._mesh, send=self._port.send, on_event=self._on_event)
        socket = control.socket_path(self._settings.runtime_dir, self._settings.interface)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._channel.run(self._on_messages)),
                    group.create_task(self._watch_interfaces()),
                    group.create_task(self._resolve_servers()),
                    group.create_task(self._keeper.run()),
                    group.create_task(self._announce()),
                    group.create_task(self._look_at_members()),
                    group.create_task(self._look_at_peers_file()),
                    group.create_task(self._keep_cache()),
                    group.create_task(self._control(socket)),
                ]
                await self._stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self._driver.close()
            self._port.close()

    async def say_goodbye(self) -> None:
        """Post LEAVE, so that peers drop us at once; give up after a short while."""
        leave = Leave(self._directory.next_seq(self._now_ms()))
        try:
            async with asyncio.timeout(LEAVE_PATIENCE):
                await self._channel.post(encode(leave))
        except (KeybaseError, TimeoutError) as error:
            _log.warning("left without a goodbye", extra={"error": str(error) or "timeout"})

    @property
    def keeps_tunnel(self) -> bool:
        """Whether the end leaves the interface for the next start."""
        return self._settings.keep_on_stop and not self._forced_down

    def status(self) -> Status:
        """Describe this agent now."""
        identity, settings = self._started.identity, self._settings
        self._note_health()
        counters = {
            **{f"nat-{name}": count for name, count in self._traversal.counters.items()},
            **{f"port-{name}": count for name, count in self._port.counters.items()},
            **{f"directory-{name}": count for name, count in self._directory.counters.items()},
            **{f"keybase-{name}": count for name, count in self._client.counters.items()},
        }
        return Status(
            agent_version=agent_version(),
            started=self._begun,
            self_=SelfStatus(
                username=identity.username,
                device=identity.device,
                ip=self._mesh.own_ip,
                public_key=str(identity.private_key.public_key),
                listen_port=identity.listen_port,
                candidates=tuple(c.to_sdp() for c in self._traversal.local_candidates),
                backend=self._started.backend.name,
                interface=settings.interface,
                team=settings.team,
                subnet=str(settings.subnet),
            ),
            peers=self._mesh.peer_statuses(self._loop.time()),
            health=self._health.entries(datetime.now(UTC)),
            counters=dict(sorted(counters.items())),
        )

    # Tasks -----------------------------------------------------------------------------------

    async def _control(self, socket: Path) -> None:
        async with control.serve(socket, status=self.status, down=self._down):
            await asyncio.Event().wait()

    async def _watch_interfaces(self) -> None:
        await InterfaceWatch(
            exclude=frozenset({self._settings.interface}),
            mark=self._settings.fwmark,
            on_change=self._on_network,
        ).run()

    async def _resolve_servers(self) -> None:
        servers = [parse_host_port(s, STUN_PORT) for s in self._settings.stun_servers]
        if servers:
            await keep_resolved(servers, self._on_stun_servers)

    async def _announce(self) -> None:
        """Post when the schedule says so."""
        while True:
            self._posting.clear()
            now = self._loop.time()
            if self._schedule.take(now):
                await self._post()
                continue
            due = self._schedule.next_timeout()
            with suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else max(0.0, due - now)):
                    await self._posting.wait()

    async def _post(self) -> None:
        wanted = self._mesh.announcement
        if wanted is None:
            self._schedule.posted(self._loop.time())
            return
        numbered = replace(wanted, seq=self._directory.next_seq(self._now_ms()))
        try:
            id_ = await self._channel.post(encode(numbered))
        except KeybaseError as error:
            _log.debug("announcement not posted", extra={"error": str(error)})
            self._schedule.failed(self._loop.time())
            return
        _log.info("announced", extra={"id": id_, "candidates": len(wanted.candidates)})
        self._directory.note_own_post(id_)
        self._mesh.posted(wanted)
        self._schedule.posted(self._loop.time())
        if not self._mesh.up_to_date:
            self._schedule.changed(self._loop.time())

    async def _look_at_members(self) -> None:
        while True:
            pause = self._settings.membership_interval_seconds
            try:
                membership = await self._client.membership(self._settings.team)
            except (KeybaseError, TeamError) as error:
                text = f"the team's members cannot be read: {error}"
                self._health.set(Condition.MEMBERSHIP_UNREADABLE, text, now=datetime.now(UTC))
                pause = FIRST_LOOKS
            else:
                self._health.clear(Condition.MEMBERSHIP_UNREADABLE)
                self._last_contact = self._loop.time()
                self._mesh.handle_membership(membership, self._loop.time())
                self._consider_loaded()
                self._driver.drain()
            await asyncio.sleep(pause)

    async def _look_at_peers_file(self) -> None:
        path = f"/keybase/team/{self._settings.team}/peers.json"
        while True:
            pause = PEERS_FILE_INTERVAL
            now = datetime.now(UTC)
            try:
                content = await self._client.read_file(path)
                parsed = (
                    None if content is None else parse_peers_file(content, self._settings.subnet)
                )
            except KbfsError as error:
                text = f"peers.json cannot be read, the last good copy stays in force: {error}"
                self._health.set(Condition.PEERS_FILE_UNREADABLE, text, now=now)
                pause = FIRST_LOOKS
            except PeersFileError as error:
                self._health.clear(Condition.PEERS_FILE_UNREADABLE)
                text = f"peers.json is invalid, the last good copy stays in force: {error}"
                self._health.set(Condition.PEERS_FILE_INVALID, text, now=now)
                pause = FIRST_LOOKS
            else:
                self._health.clear(Condition.PEERS_FILE_UNREADABLE)
                self._health.clear(Condition.PEERS_FILE_INVALID)
                self._listed = self._peers_file_known = True
                if not self._mesh.loaded or parsed != self._directory.peers_file:
                    self._mesh.handle_peers_file(parsed, self._loop.time())
                self._consider_loaded()
                self._driver.drain()
            await asyncio.sleep(pause)

    async def _keep_cache(self) -> None:
        while True:
            await self._cache_dirty.wait()
            await asyncio.sleep(CACHE_DELAY)
            self._cache_dirty.clear()
            self._save_cache()

    def _save_cache(self) -> None:
        content = cache.dump(
            self._directory, self._settings.team, peers_file_known=self._peers_file_known
        )
        try:
            self._store.save_directory(content)
        except OSError as error:
            text = f"the state directory cannot be written ({error.strerror})"
            self._health.set(Condition.STATE_UNWRITABLE, text, now=datetime.now(UTC))
        else:
            self._health.clear(Condition.STATE_UNWRITABLE)

    # What comes in ---------------------------------------------------------------------------

    def _on_messages(self, messages: Sequence[ChatMessage]) -> None:
        for message in messages:
            if message.exploding and message.sender == self._started.node:
                text = (
                    f"the retention policy of #{self._settings.topic} makes our posts vanish: "
                    "give the channel another policy, or set KBWG_TOPIC to another channel"
                )
                self._health.set(Condition.CHANNEL_EXPLODES, text, now=datetime.now(UTC))
        self._mesh.handle_messages(messages, self._loop.time())
        self._driver.drain()

    def _on_channel_health(self, health: ChannelHealth) -> None:
        if health.connected:
            self._last_contact = self._loop.time()
            self._health.clear(Condition.KEYBASE_UNREACHABLE)
            self._caught_up = True
            self._consider_loaded()
            self._driver.drain()
        else:
            text = f"Keybase chat cannot be reached, what is known stays in force: {health.error}"
            self._health.set(Condition.KEYBASE_UNREACHABLE, text, now=datetime.now(UTC))

    def _on_network(self, network: HostNetwork) -> None:
        now = self._loop.time()
        port = self._started.identity.listen_port
        self._traversal.set_host_addresses(
            [
                HostAddress(endpoint_of(a, port), a.interface, a.local_preference)
                for a in network.addresses
            ],
            now,
        )
        advertised = [parse_host_port(text) for text in self._settings.advertise]
        self._traversal.set_advertised(
            [Endpoint(IPv4Address(host), p) for host, p in advertised], now
        )
        self._traversal.network_changed(now)
        _log.info("network changed", extra={"addresses": len(network.addresses)})
        self._changed_traversal(now)

    def _on_stun_servers(self, servers: tuple[Endpoint, ...]) -> None:
        now = self._loop.time()
        self._traversal.set_stun_servers(servers, now)
        self._changed_traversal(now)

    def _changed_traversal(self, now: float) -> None:
        self._mesh.drain_traversal(now)
        self._driver.drain()

    def _on_observed(self, peers: Mapping[PublicKey, PeerState]) -> None:
        self._mesh.observe(peers, datetime.now(UTC), self._loop.time())
        self._driver.drain()

    def _on_device_failure(self, text: str | None) -> None:
        if text is None:
            self._health.clear(Condition.DEVICE_UNUSABLE)
        else:
            self._health.set(Condition.DEVICE_UNUSABLE, text, now=datetime.now(UTC))

    def _on_event(self, event: MeshEvent) -> None:
        match event:
            case DeviceChanged():
                self._keeper.reconcile()
            case EndpointsChanged(changes=changes):
                self._keeper.update(changes)
            case AnnouncementChanged():
                self._schedule.changed(self._loop.time())
                self._posting.set()
            case DirectoryChanged():
                self._cache_dirty.set()
            case StunServerChanged(server=server, reachable=reachable):
                self._stun_state[server] = reachable
            case _:
                assert_never(event)

    # Inside ----------------------------------------------------------------------------------

    def _consider_loaded(self) -> None:
        """Believe the directory once chat, members and `peers.json` have all been read."""
        if self._caught_up and self._listed and self._directory.membership is not None:
            self._mesh.set_loaded(self._loop.time())

    def _wanted_device(self) -> DeviceConfig | None:
        if not self._mesh.loaded:
            return None
        identity, settings = self._started.identity, self._settings
        return DeviceConfig(
            interface=settings.interface,
            alias=alias_of(settings.team, identity),
            private_key=identity.private_key,
            listen_port=identity.listen_port,
            fwmark=settings.fwmark,
            mtu=settings.mtu,
            addresses=self._mesh.addresses,
            peers=self._mesh.peer_configs,
        )

    def _note_health(self) -> None:
        """Bring the conditions that are read off, rather than reported, up to date."""
        now = datetime.now(UTC)
        conditions = self._mesh.conditions
        for condition in (
            Condition.PEERS_FILE_ENTRY,
            Condition.NOT_LISTED,
            Condition.DUPLICATE_DEVICE,
            Condition.DUPLICATE_KEY,
        ):
            cases = [(subject, text) for c, subject, text in conditions if c is condition]
            self._health.replace(condition, cases, now=now)
        down = [server for server, reachable in self._stun_state.items() if not reachable]
        self._health.replace(
            Condition.STUN_UNREACHABLE,
            [(str(s), f"the STUN server {s} does not answer") for s in down],
            now=now,
        )
        candidates = self._traversal.local_candidates
        texts = {
            Condition.NO_CANDIDATES: None
            if candidates
            else "this host has no address that a peer could send to",
            Condition.NO_ADDRESS: None
            if self._mesh.own_ip or not self._mesh.loaded
            else "our claim of an overlay address has not been read back yet",
            Condition.ADDRESSES_EXHAUSTED: None
            if not self._mesh.exhausted
            else f"no address of {self._settings.subnet} is free: choose a larger subnet",
        }
        for condition, text in texts.items():
            if text is None:
                self._health.clear(condition)
            else:
                self._health.set(condition, text, now=now)

    def _down(self) -> None:
        self._forced_down = True
        self._stop.set()

    def _now_ms(self) -> int:
        return int(datetime.now(UTC).timestamp() * 1000)


def agent_version() -> str:
    """Return the installed version."""
    try:
        return version("kbwg")
    except PackageNotFoundError:
        return "unknown"
