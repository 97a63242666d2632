"""A start either works or says why not: everything that must be true before the agent runs.

Nothing half-configured is left behind: an interface that this start made is removed again when
the start fails; one that it found stays as it was.
"""

import asyncio
import logging
import random
from dataclasses import dataclass
from functools import partial
from typing import Final

from ..errors import (
    AddressError,
    InterfaceError,
    KeybaseError,
    PortInUseError,
    StartError,
)
from ..firewall.nft import Firewall
from ..firewall.rules import TunnelFilter
from ..identity import NodeId, PrivateKey
from ..keybase.client import KeybaseClient
from ..keybase.models import MESH_ROLES, Device, Membership
from ..settings import Settings
from ..store import Identity, Store
from ..team_config import TeamConfig
from ..wireguard.backend import Backend
from ..wireguard.changes import SetDevice, SetMtu, SetUp
from ..wireguard.choose import choose_backend
from ..wireguard.device import DeviceState
from ..wireguard.link import clashing_routes
from ..wireguard.route_table import RouteTable
from ..wireguard.routes import RoutePolicy
from .leftovers import remove_all
from .team_settings import known_team_config, read_team_config, settle

_log = logging.getLogger(__name__)

SERVICE_PATIENCE: Final = 60.0
"""Seconds that a first start waits for the Keybase service, which starts beside us."""

KNOWN_PATIENCE: Final = 5.0
"""Seconds that a host which knows who it is waits: tunnels need no chat."""

PORT_RANGE: Final = (10_000, 32_767)
"""Ports to draw from: above the registered services, below Linux's ephemeral ports."""

PORT_TRIES: Final = 16
"""Draws until a port is free; even on a busy host the second one is."""

ALIAS_PREFIX: Final = "kbwg "
"""How the alias of every interface of ours begins."""


@dataclass(frozen=True, slots=True)
class Started:
    """What a successful start has found out.

    Attributes:
        host_settings: what this host's environment says.
        team_config: what the team says.
        settings: both together, which is what holds.
        membership: `None`: Keybase is away and the cache must do.
        adopted: the interface was there already, with its sessions.
        routes: host routes for hosts with several uplinks.
    """

    host_settings: Settings
    team_config: TeamConfig
    settings: Settings
    identity: Identity
    membership: Membership | None
    backend: Backend
    adopted: bool
    routes: RouteTable

    @property
    def node(self) -> NodeId:
        """The device that we are."""
        return NodeId(self.identity.username, self.identity.device_id, self.identity.device)


def alias_of(team: str, identity: Identity) -> str:
    """Return the tag of this device's interface for a team."""
    return f"{ALIAS_PREFIX}{team} {identity.username}/{identity.device_id}"


def route_policy(settings: Settings, port: int) -> RoutePolicy:
    """Return which datagrams look into our own routing table."""
    return RoutePolicy(settings.fwmark, port, settings.route_priority)


async def start(host_settings: Settings, client: KeybaseClient, store: Store) -> Started:
    """Find out who we are and what the team wants, and bring the interface up or adopt it.

    Args:
        host_settings: this host's environment.
        client: Keybase.
        store: the state directory.

    Raises:
        StartError: with the reason and what would mend it.
    """
    store.prepare()
    settings = host_settings
    known = None if settings.key == "ephemeral" else store.load_identity()
    try:
        async with asyncio.TaskGroup() as group:
            who_task = group.create_task(_who(settings, client, store, known))
            backend_task = group.create_task(choose_backend(settings.backend, settings.interface))
    except* StartError as errors:
        raise _first(errors) from None
    who, membership, team_config = who_task.result()
    settings = settle(host_settings, team_config)
    await _check_routes(settings)
    backend = backend_task.result()
    started = partial(
        Started,
        host_settings=host_settings,
        team_config=team_config,
        settings=settings,
        membership=membership,
        backend=backend,
    )
    found = await backend.read()
    identity = _identity(settings, who, known, found)
    if found is not None and found.alias == alias_of(settings.team, identity):
        _log.info("interface adopted", extra={"interface": settings.interface})
        _keep(store, identity)
        routes = RouteTable(route_policy(settings, identity.listen_port))
        return started(identity=identity, adopted=True, routes=routes)
    if found is not None:
        if not found.alias.startswith(f"{ALIAS_PREFIX}{settings.team} "):
            raise InterfaceError(
                f"the interface {settings.interface} exists and is not ours "
                f"(alias {found.alias!r}): set KBWG_INTERFACE to another name"
            )
        _log.info("interface of another login removed", extra={"interface": settings.interface})
        port = found.listen_port or identity.listen_port
        await remove_all(backend, RouteTable(route_policy(settings, port)))
    identity = await _create(settings, backend, store, identity)
    routes = RouteTable(route_policy(settings, identity.listen_port))
    return started(identity=identity, adopted=False, routes=routes)


async def _who(
    settings: Settings, client: KeybaseClient, store: Store, known: Identity | None
) -> tuple[Identity, Membership | None, TeamConfig]:
    """Ask Keybase who we are and what the team says; what is stored does while it is away."""
    try:
        await client.wait_until_ready(KNOWN_PATIENCE if known else SERVICE_PATIENCE)
        (device, membership), team_config = await asyncio.gather(
            _device_and_team(client, settings.team),
            read_team_config(client, store, settings.team),
        )
    except KeybaseError as error:
        if known is None:
            raise StartError(f"Keybase does not answer: {error}") from error
        _log.warning("started without Keybase", extra={"error": str(error)})
        return known, None, known_team_config(store) or TeamConfig()
    if membership.roles.get(device.username) not in MESH_ROLES:
        raise StartError(f"{device.username} has no role in {settings.team} that can take part")
    same = known is not None and known.device_id == device.device_id
    key = known.private_key if same and known is not None else PrivateKey.generate()
    port = known.listen_port if known is not None else random.randint(*PORT_RANGE)  # noqa: S311
    identity = Identity(
        private_key=key,
        username=device.username,
        device_id=device.device_id,
        device=device.name,
        listen_port=settings.listen_port or port,
    )
    return identity, membership, team_config


async def _device_and_team(client: KeybaseClient, team: str) -> tuple[Device, Membership]:
    """Ask for both at once; that nobody is logged in explains every other failure."""
    device, membership = await asyncio.gather(
        client.device(), client.membership(team), return_exceptions=True
    )
    if isinstance(device, BaseException):
        raise device
    if isinstance(membership, BaseException):
        raise membership
    return device, membership


def _identity(
    settings: Settings, who: Identity, known: Identity | None, found: DeviceState | None
) -> Identity:
    """Prefer what the interface has: its sessions hang on the key, its mappings on the port."""
    if found is None or found.alias != alias_of(settings.team, who):
        return who
    key = found.private_key or who.private_key
    port = settings.listen_port or found.listen_port or who.listen_port
    return who.model_copy(update={"private_key": key, "listen_port": port})


def _keep(store: Store, identity: Identity) -> None:
    try:
        store.save_identity(identity)
    except OSError as error:
        raise StartError(
            f"the key cannot be kept in the state directory ({error.strerror}): make room there, or "
            "set KBWG_STATE_DIR"
        ) from error


async def _create(
    settings: Settings, backend: Backend, store: Store, identity: Identity
) -> Identity:
    """Create and configure the interface, and keep what it is made of for the next start.

    Draws another port while the drawn one is taken.
    """
    try:
        await backend.create(alias_of(settings.team, identity))
    except InterfaceError:
        raise  # somebody has made one of this name meanwhile: it is theirs
    except BaseException:
        await asyncio.shield(remove_all(backend))
        raise
    try:
        if settings.firewall:
            # Before anything can come in; without addresses nothing gets through yet.
            await Firewall().keep(TunnelFilter(settings.interface, frozenset()))
        identity = await _configure(settings, backend, identity)
        _keep(store, identity)
    except BaseException:
        await asyncio.shield(remove_all(backend))
        raise
    return identity


async def _configure(settings: Settings, backend: Backend, identity: Identity) -> Identity:
    for _ in range(PORT_TRIES):
        device = SetDevice(identity.private_key, identity.listen_port, settings.fwmark)
        try:
            await backend.apply([device, SetMtu(settings.mtu), SetUp()])
        except PortInUseError as error:
            if settings.listen_port is not None:
                raise PortInUseError(
                    f"UDP port {settings.listen_port} is in use: set KBWG_LISTEN_PORT to "
                    "another one, or leave it out"
                ) from error
            port = random.randint(*PORT_RANGE)  # noqa: S311 - any free port will do
            identity = identity.model_copy(update={"listen_port": port})
        else:
            return identity
    raise PortInUseError(f"no free UDP port in {PORT_TRIES} draws")


async def _check_routes(settings: Settings) -> None:
    clashes = await clashing_routes(str(settings.subnet), settings.interface)
    if clashes:
        raise AddressError(
            f"KBWG_SUBNET {settings.subnet} overlaps what this host already reaches by "
            f"{', '.join(clashes[:3])}: choose another subnet for the whole team"
        )


def _first(errors: BaseExceptionGroup[StartError]) -> StartError:
    for error in errors.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group is never empty")
