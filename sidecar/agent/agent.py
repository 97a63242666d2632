"""The agent: one TaskGroup around the mesh, from a successful start to an orderly end.

Order of the end: no more announcements; LEAVE, so that peers drop us at once; then the interface
and everything with it. With `KBWG_KEEP_ON_STOP` none of that: the tunnel stays for the next
start to adopt. Whatever cannot go on raises, and the process ends with an error.
"""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import assert_never

from nat.candidate import is_reachable_address
from nat.errors import SharedPortError
from nat.gathering import MappedEndpoint
from nat.io.driver import Driver
from nat.io.interfaces import HostNetwork
from nat.io.relay import RelaySettings
from nat.machine import Datagram, Endpoint, IPAddress
from nat.path.events import PeerId, StunServerChanged
from nat.prediction.events import PortsDone, PortsWanted, PortWon, SpliceReleased
from nat.prediction.predictor import Predictor
from nat.traversal import Traversal
from nat.turn.events import (
    ConnectionReleased,
    ConnectionRequested,
    ReconnectRequested,
    RelayChannelBound,
    RelayChannelLost,
    TurnServerChanged,
)

from .. import cache
from ..directory import Directory
from ..errors import PrivilegeError
from ..firewall.nft import Firewall
from ..firewall.rules import TunnelFilter
from ..health import Condition, Health
from ..identity import PublicKey
from ..keybase.channel import AnnounceChannel, ChannelHealth
from ..keybase.client import KeybaseClient
from ..keybase.models import Channel, ChatMessage, Membership
from ..mesh.events import (
    AnnouncementChanged,
    DeviceChanged,
    DirectoryChanged,
    EndpointsChanged,
    FlowsChanged,
    LookWanted,
    MeshEvent,
    RelayLeft,
    RelayTaken,
)
from ..mesh.mesh import Mesh
from ..peers_file import PeersFile
from ..splice_table import SpliceTable
from ..status import Status
from ..store import Store
from ..team_config import TeamConfig
from ..tunnel_mtu import data_size, interface_mtu
from ..why.document import Here, Why, describe, find
from ..why.facts import Filtering
from ..why.verdicts import own_side
from ..wireguard.device import DeviceConfig, PeerState
from . import control
from .announcer import Announcer
from .cache_keeper import CacheKeeper
from .device_keeper import DeviceKeeper
from .device_watch import DeviceWatch
from .nat_observer import NatObserver
from .network import NetworkReader
from .port_mapping import PortMappingKeeper
from .port_splicer import PortSplicer
from .relay_keeper import RelayKeeper
from .report import agent_version, describe_self, merge_counters, note_conditions
from .route_keeper import RouteKeeper
from .staleness import StalenessWatch
from .start import Started, alias_of
from .stun_port import stun_port
from .team_reader import TeamReader
from .team_settings import TeamSettings


class Agent:
    """A running sidecar: makes the parts, and carries what one says to the others.

    Args:
        started: what the start found out.
        client: Keybase.
        store: the state directory.
    """

    def __init__(self, started: Started, client: KeybaseClient, store: Store) -> None:
        self._settings = settings = started.settings
        self._store = store
        self._started = started
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._forced_down = False
        self._begun = datetime.now(UTC)
        self._underlay_mtu: int | None = None
        self._firewall = Firewall()
        self._health = Health()
        self._peers_file_read = False
        self._caught_up = False
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
        if started.membership is not None:
            self._directory.handle_membership(started.membership)
        self._traversal = Traversal(
            rng=rng,
            now=self._loop.time(),
            refused=(settings.subnet,),
            data_size=data_size(settings.mtu),
        )
        self._predictor = Predictor(
            rng=rng,
            enabled=settings.port_prediction,
            may_send=lambda ip: is_reachable_address(ip) and ip not in settings.subnet,
        )
        self._mesh = Mesh(
            own=started.node,
            private_key=identity.private_key,
            subnet=settings.subnet,
            directory=self._directory,
            traversal=self._traversal,
            predictor=self._predictor,
            rng=rng,
            mtu=settings.mtu,
            known=restored,
        )
        self._port = stun_port(
            settings.interface,
            identity.listen_port,
            mark=settings.fwmark,
            on_datagram=lambda datagram: self._driver.receive_datagram(datagram),
            on_refused=self._on_refused,
        )
        self._splicer = PortSplicer(
            self._predictor,
            SpliceTable(settings.interface, identity.listen_port),
            mark=settings.fwmark,
            on_datagram=self._on_datagram_at_opened_port,
            on_spliced=self._mesh.spliced,
        )
        self._relays = RelayKeeper(
            self._traversal,
            RelaySettings(identity.listen_port, settings.fwmark, settings.turn_ca_file),
            rng=rng,
            on_change=self._on_traversal_changed,
        )
        self._relays.set_servers(settings.turn(_wall))
        self._driver = Driver[MeshEvent](
            self._mesh, send=self._send, on_event=self._on_event, flush=self._relays.flush
        )
        self._channel = AnnounceChannel(
            client,
            Channel(settings.team, settings.topic),
            wall=_wall,
            on_health=self._on_channel_health,
        )
        self._announcer = Announcer(
            self._channel.post,
            self._mesh,
            self._directory,
            on_posted=lambda announcement, id_: self._driver.mutate(
                lambda now: self._mesh.posted(announcement, id_, now)
            ),
            interval=settings.announce_interval_seconds,
            wall=_wall,
        )
        self._team_reader = TeamReader(
            client,
            team=settings.team,
            subnet=settings.subnet,
            membership_interval=settings.membership_interval_seconds,
            health=self._health,
            on_membership=self._on_membership,
            on_peers_file=self._on_peers_file,
            on_team_config=self._on_team_config,
        )
        self._directory.handle_policy(started.team_config.policy)
        self._device_watch = DeviceWatch(
            client, usernames=lambda: self._mesh.usernames, on_devices=self._on_devices
        )
        self._staleness = StalenessWatch(
            settings.max_stale_seconds,
            age=0.0 if started.membership else store.directory_age(self._begun.timestamp()),
            on_change=self._on_staleness,
        )
        self._team_settings = TeamSettings(
            started.host_settings, started.team_config, store, self._health
        )
        self._routes = RouteKeeper(
            started.routes,
            flows=lambda: self._mesh.flows,
            on_failure=self._on_routes_failure,
            on_filtered=self._on_filtered,
        )
        self._port_mapping = PortMappingKeeper(
            settings,
            identity,
            rng=rng,
            on_change=self._on_mapped,
            outlives=lambda: self.keeps_tunnel,
        )
        self._nat = NatObserver(mark=settings.fwmark, rng=rng, on_found=self._on_nat_found)
        self._network = NetworkReader(
            settings,
            port=identity.listen_port,
            traversal=self._traversal,
            on_uplinks=self._on_uplinks,
            on_network=self._on_network,
            on_servers=self._nat.servers_changed,
            on_change=self._on_traversal_changed,
        )
        self._cache = CacheKeeper(
            store, self._directory, settings.team, self._health, peers_file_known=restored
        )
        self._keeper = DeviceKeeper(
            started.backend,
            routes=self._routes,
            wanted=self._wanted_device,
            guard=self._guard,
            busy=lambda: self._mesh.busy,
            handing_over=lambda: self._mesh.handing_over,
            on_observed=self._on_observed,
            on_failure=self._on_device_failure,
        )
        if restored:
            self._driver.mutate(self._mesh.set_loaded)

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
        adopt = self._started.adopted and self._settings.port_prediction
        self._driver.mutate(lambda now: self._splicer.start(adopt=adopt, now=now))
        parts = (
            self._channel.run(self._on_messages),
            self._team_reader.run(),
            self._device_watch.run(),
            self._staleness.run(),
            self._network.run(),
            self._relays.run(),
            self._port_mapping.run(),
            self._nat.run(),
            self._keeper.run(),
            self._announcer.run(),
            self._cache.run(),
            self._splicer.run(),
            self._serve(),
        )
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(part) for part in parts]
                await self._stop.wait()
                if not self.keeps_tunnel:
                    self._relays.say_goodbye()
                for task in tasks:
                    task.cancel()
        finally:
            self._driver.close()
            self._port.close()
            self._splicer.close()

    async def say_goodbye(self) -> None:
        """Post LEAVE, so that peers drop us at once; give up after a short while."""
        await self._announcer.say_goodbye()

    @property
    def keeps_tunnel(self) -> bool:
        """Whether the end leaves the interface for the next start."""
        return self._settings.keep_on_stop and not self._forced_down

    def status(self) -> Status:
        """Describe this agent now."""
        now = datetime.now(UTC)
        note_conditions(
            self._health,
            mesh=self._mesh,
            traversal=self._traversal,
            nat=self._nat.nats(),
            port_mapping=self._port_mapping.statuses(),
            subnet=self._settings.subnet,
            backend=self._started.backend.name,
            now=now,
        )
        return Status(
            agent_version=agent_version(),
            started=self._begun,
            self_=describe_self(
                self._settings,
                self._started,
                mesh=self._mesh,
                traversal=self._traversal,
                has_ipv6=self._keeper.has_ipv6,
                nat=self._nat.nats(),
                stun=self._nat.servers(),
                port_mapping=self._port_mapping.statuses(),
            ),
            peers=self._mesh.peer_statuses(self._loop.time()),
            health=self._health.entries(now),
            counters=merge_counters(
                {
                    "nat": self._traversal.counters,
                    "port": self._port.counters,
                    "relay": self._relays.counters,
                    "port-mapping": self._port_mapping.counters,
                    "prediction": self._predictor.counters + self._splicer.counters,
                    "directory": self._directory.counters,
                    "keybase": self._client.counters,
                }
            ),
        )

    def why(self, peer: str) -> Why:
        """Explain how a peer is reached.

        Raises:
            LookupError: no peer, or several, are called so; says which there are.
        """
        return describe(find(self._mesh.peer_details(self._loop.time()), peer), self._here())

    def _here(self) -> Here:
        servers = self._traversal.stun_servers.values()
        mapped = any(mapping.external for mapping in self._port_mapping.statuses())
        nat = next(iter(self._nat.nats()), None)
        return Here(
            side=own_side(
                self._traversal.local_candidates,
                varies=self._traversal.mapping_varies,
                answering=sum(answers is True for answers in servers),
                silent=sum(answers is False for answers in servers),
                mapped=mapped or bool(self._settings.advertise),
                filtering=Filtering(nat.filtering) if nat is not None else Filtering.UNKNOWN,
            ),
            listen_port=self._started.identity.listen_port,
            relays=bool(self._settings.turn_servers),
            prediction=self._settings.port_prediction,
        )

    async def _serve(self) -> None:
        socket = control.socket_path(self._settings.runtime_dir, self._settings.interface)
        async with control.serve(
            socket, status=self.status, why=self.why, netcheck=self._netcheck, down=self._down
        ):
            await asyncio.Event().wait()

    async def _netcheck(self) -> Status:
        await self._nat.look()
        return self.status()

    # What comes in ---------------------------------------------------------------------------

    def _on_messages(self, messages: Sequence[ChatMessage]) -> None:
        for message in messages:
            if message.exploding and message.sender == self._started.node:
                text = (
                    f"the retention policy of #{self._settings.topic} makes our posts vanish: "
                    "give the channel another policy, or set KBWG_TOPIC to another channel"
                )
                self._health.set(Condition.CHANNEL_EXPLODES, text, now=datetime.now(UTC))
        self._driver.mutate(lambda now: self._mesh.handle_messages(messages, now))

    def _on_channel_health(self, health: ChannelHealth) -> None:
        if health.connected:
            self._health.clear(Condition.KEYBASE_UNREACHABLE)
            self._caught_up = True
            self._consider_loaded()
        else:
            text = f"Keybase chat cannot be reached, what is known stays in force: {health.error}"
            self._health.set(Condition.KEYBASE_UNREACHABLE, text, now=datetime.now(UTC))

    def _on_membership(self, membership: Membership) -> None:
        self._driver.mutate(lambda now: self._mesh.handle_membership(membership, now))
        self._staleness.refreshed()
        self._store.confirm_directory()
        self._consider_loaded()

    def _on_devices(self, username: str, ids: frozenset[str]) -> None:
        wall = datetime.now(UTC).timestamp()
        self._driver.mutate(
            lambda now: self._mesh.handle_devices(username, ids, wall=wall, now=now)
        )

    def _on_staleness(self, stale: bool) -> None:
        text = (
            "Keybase has been away for longer than KBWG_MAX_STALE_SECONDS: peers are dropped until "
            "the team's members can be read again"
        )
        cases = [("", text)] if stale else []
        self._health.replace(Condition.KEYBASE_STALE, cases, now=datetime.now(UTC))
        self._driver.mutate(lambda now: self._mesh.handle_staleness(stale, now))

    def _on_peers_file(self, peers_file: PeersFile | None) -> None:
        self._peers_file_read = self._cache.peers_file_known = True
        if not self._mesh.loaded or peers_file != self._directory.peers_file:
            self._driver.mutate(lambda now: self._mesh.handle_peers_file(peers_file, now))
        self._consider_loaded()

    def _on_datagram_at_opened_port(self, datagram: Datagram) -> None:
        self._driver.mutate(lambda now: self._mesh.receive_at_opened_port(datagram, now))

    def _on_refused(self, datagram: Datagram, error: str) -> None:
        # Refused in the middle of a drain: told when that is over.
        self._loop.call_soon(
            self._driver.mutate, lambda now: self._mesh.not_sent(datagram, error, now)
        )

    def _on_network(self, network: HostNetwork) -> None:
        self._port_mapping.network_changed(network)
        self._nat.network_changed(network)
        self._underlay_mtu = network.mtu
        self._set_mtu()

    def _set_mtu(self) -> None:
        mtu = interface_mtu(self._underlay_mtu, self._settings.mtu)
        self._driver.mutate(lambda now: self._mesh.set_mtu(mtu))

    def _on_team_config(self, config: TeamConfig, content: bytes | None) -> None:
        if self._team_settings.take(config, content):
            self._settings = self._team_settings.settings
            self._network.renew(self._settings)
            self._relays.set_servers(self._settings.turn(_wall))
            self._set_mtu()
            self._keeper.reconcile()
            self._driver.mutate(lambda now: self._mesh.handle_policy(config.policy, now))

    def _on_traversal_changed(self) -> None:
        self._driver.mutate(self._mesh.drain_traversal)

    def _on_mapped(self, mappings: tuple[MappedEndpoint, ...]) -> None:
        self._traversal.set_mapped(mappings, self._loop.time())
        self._on_traversal_changed()

    def _on_nat_found(self) -> None:
        # Of IPv4: behind IPv6 firewalls nobody needs to be warned.
        v4 = (found.behaviour for found in self._nat.found if found.base.ip.version == 4)
        behaviour = next(v4, None)
        self._driver.mutate(lambda now: self._mesh.set_nat(behaviour, now))

    def _on_observed(self, peers: Mapping[PublicKey, PeerState]) -> None:
        self._driver.mutate(lambda now: self._mesh.observe(peers, datetime.now(UTC), now))

    def _on_uplinks(self, uplinks: Mapping[IPAddress, int]) -> None:
        self._port.set_uplinks(uplinks)
        self._splicer.set_uplinks(uplinks)
        self._routes.set_uplinks(uplinks)
        self._keeper.look()

    def _on_routes_failure(self, text: str | None) -> None:
        cases = [] if text is None else [("", text)]
        self._health.replace(Condition.ROUTES_REFUSED, cases, now=datetime.now(UTC))

    def _on_filtered(self, uplinks: Sequence[tuple[str, str]]) -> None:
        self._health.replace(Condition.UPLINK_FILTERED, uplinks, now=datetime.now(UTC))

    def _on_device_failure(self, text: str | None) -> None:
        cases = [] if text is None else [("", text)]
        self._health.replace(Condition.DEVICE_UNUSABLE, cases, now=datetime.now(UTC))

    def _on_event(self, event: MeshEvent) -> None:
        match event:
            case DeviceChanged():
                self._keeper.reconcile()
            case EndpointsChanged(changes=changes):
                self._keeper.update(changes)
            case LookWanted():
                self._keeper.look()
            case FlowsChanged():
                self._routes.changed()
                self._keeper.look()
            case AnnouncementChanged():
                self._announcer.changed()
            case DirectoryChanged():
                self._cache.changed()
            case RelayLeft(peer=peer, endpoint=endpoint):
                self._relays.hand_over(endpoint, lambda: self._on_late(peer))
            case RelayTaken(endpoint=endpoint):
                self._relays.resume(endpoint)
            case (
                ConnectionRequested()
                | ConnectionReleased()
                | ReconnectRequested()
                | TurnServerChanged()
                | RelayChannelBound()
                | RelayChannelLost()
            ):
                self._relays.handle_event(event)
            case StunServerChanged(server=server, reachable=reachable):
                self._stun_state[server] = reachable
            case PortsWanted() | PortsDone() | PortWon() | SpliceReleased():
                self._splicer.handle_event(event, self._loop.time())
            case _:
                assert_never(event)

    def _on_late(self, peer: PeerId) -> None:
        self._driver.mutate(lambda now: self._mesh.note_late(peer, now))

    def _send(self, datagram: Datagram) -> None:
        if not self._splicer.send(datagram):
            self._port.send(datagram)

    # Inside ----------------------------------------------------------------------------------

    def _consider_loaded(self) -> None:
        """Believe the directory once chat, members and `peers.json` have all been read."""
        if self._caught_up and self._peers_file_read and self._directory.membership is not None:
            self._driver.mutate(self._mesh.set_loaded)

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
            mtu=self._mesh.mtu,
            addresses=self._mesh.addresses,
            peers=self._mesh.peer_configs,
            routes=self._mesh.routes,
        )

    async def _guard(self, device: DeviceConfig) -> None:
        if self._settings.firewall:
            await self._firewall.keep(TunnelFilter(device.interface, device.addresses))

    def _down(self) -> None:
        self._forced_down = True
        self._stop.set()


def _wall() -> float:
    return datetime.now(UTC).timestamp()
