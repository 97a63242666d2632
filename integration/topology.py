"""A topology: what a compose file says, as values. The labs and the tests read nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from pathlib import PurePosixPath

from .errors import TopologyError

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network


class Condition(Enum):
    """What a service waits for in another."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A broadcast domain."""

    name: str
    subnets: tuple[IPNetwork, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A service's interface in a network."""

    network: str
    interface: str
    """`eth0`, `eth1`, … in the order written."""

    addresses: tuple[IPInterface, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """A command that succeeds once a service does what others need it for."""

    argv: tuple[str, ...]
    timeout: float
    """Seconds from the start after which the service counts as failed: Compose's
    start_period + retries * interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMount:
    """A named volume and where a service sees it."""

    volume: str
    target: PurePosixPath
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A node: its process and all that it sees."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    attachments: tuple[Attachment, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    sysctls: Mapping[str, str]
    depends_on: Mapping[str, Condition]
    healthcheck: HealthCheck | None = None

    def attachment(self, network: str) -> Attachment:
        """Its interface in a network.

        Raises:
            TopologyError: it has none there.
        """
        for attachment in self.attachments:
            if attachment.network == network:
                return attachment
        raise TopologyError(f"{self.name} has no interface in the network {network}")

    def address(self, network: str | None = None) -> IPAddress:
        """Its first address, or the first in `network`.

        Raises:
            TopologyError: it has none.
        """
        if network is not None:
            return self.attachment(network).addresses[0].ip
        if not self.attachments:
            raise TopologyError(f"{self.name} is in no network")
        return self.attachments[0].addresses[0].ip


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """Networks and the services in them.

    Raises:
        TopologyError: two services claim one address, an address lies outside its network, or
            a service names another, a network or a volume that does not exist.
    """

    networks: Mapping[str, Network]
    services: Mapping[str, Service]
    volumes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        taken: dict[tuple[str, IPAddress], str] = {}
        for service in self.services.values():
            for attachment in service.attachments:
                self._check_attachment(service.name, attachment, taken)
            for mount in service.mounts:
                if mount.volume not in self.volumes:
                    raise TopologyError(f"{service.name}: no volume {mount.volume} is declared")
            for name, condition in service.depends_on.items():
                other = self.service(name)
                if condition is Condition.HEALTHY and other.healthcheck is None:
                    raise TopologyError(
                        f"{service.name} waits for {name}, which has no healthcheck"
                    )
        for name in self.services:
            self.with_dependencies((name,))

    def service(self, name: str) -> Service:
        """Look up the service of that name.

        Raises:
            TopologyError: there is none; says which there are.
        """
        try:
            return self.services[name]
        except KeyError:
            known = ", ".join(sorted(self.services))
            raise TopologyError(f"no service {name}; there are {known}") from None

    def with_dependencies(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Order these services and whatever they wait for, each after what it waits for.

        Raises:
            TopologyError: services wait for each other in a circle.
        """
        order: list[str] = []
        open_names: list[str] = []

        def visit(name: str) -> None:
            if name in order:
                return
            if name in open_names:
                circle = " -> ".join([*open_names[open_names.index(name) :], name])
                raise TopologyError(f"services wait for each other: {circle}")
            open_names.append(name)
            for dependency in self.service(name).depends_on:
                visit(dependency)
            open_names.pop()
            order.append(name)

        for name in names:
            visit(name)
        return tuple(order)

    def _check_attachment(
        self, service: str, attachment: Attachment, taken: dict[tuple[str, IPAddress], str]
    ) -> None:
        network = self.networks.get(attachment.network)
        if network is None:
            raise TopologyError(f"{service}: no network {attachment.network} is declared")
        for address in attachment.addresses:
            if not any(address.ip in subnet for subnet in network.subnets):
                raise TopologyError(f"{service}: {address.ip} is outside of {network.name}")
            other = taken.setdefault((network.name, address.ip), service)
            if other != service:
                raise TopologyError(f"{other} and {service} both claim {address.ip}")
