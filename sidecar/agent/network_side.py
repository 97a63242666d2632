"""The agent's side towards the network: datagrams, interfaces, relays, gateways.

What they tell reaches the traversal; what the mesh wants sent leaves by the shared port, by a port
that was opened for prediction, or over a connection to a TURN server.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from random import Random
from typing import Any

from nat.gathering import MappedEndpoint
from nat.io.driver import Mutate
from nat.io.interfaces import HostNetwork
from nat.io.relay import RelaySettings
from nat.io.ways import Ways
from nat.machine import Datagram, Endpoint
from nat.path.events import PeerId
from nat.prediction.events import PredictionEvent
from nat.turn.events import RelayEvent

from ..settings import Settings
from ..splice_table import SpliceTable
from ..status import PortMappingStatus
from ..tunnel_mtu import interface_mtu
from .machines import Machines
from .nat_observer import NatObserver
from .network import NetworkReader
from .port_mapping import PortMappingKeeper
from .port_splicer import PortSplicer
from .relay_keeper import RelayKeeper
from .start import Started
from .stun_port import keep_mended, stun_port
from .wall_clock import wall


class NetworkSide:
    """Sends and receives, and knows what this host's network is.

    Args:
        started: what the start found out.
        machines: told of what comes in.
        rng: cryptographic source of randomness.
        mutate: has the machines changed and driven.
        keeps_tunnel: whether what was made is to stay at the end.
        on_ways: gets by which interface datagrams leave.
    """

    def __init__(
        self,
        started: Started,
        machines: Machines,
        *,
        rng: Random,
        mutate: Mutate,
        keeps_tunnel: Callable[[], bool],
        on_ways: Callable[[Ways], None],
    ) -> None:
        settings, identity = started.settings, started.identity
        self._settings = settings
        self._adopts = started.adopted and settings.port_prediction
        self._traversal = traversal = machines.traversal
        self._predictor = machines.predictor
        self._mesh = mesh = machines.mesh
        self._mutate = mutate
        self._tell_ways = on_ways
        self._loop = asyncio.get_running_loop()
        self._underlay_mtu: int | None = None
        self._port = stun_port(
            settings.interface,
            identity.listen_port,
            mark=settings.fwmark,
            on_datagram=lambda datagram: mutate(lambda now: mesh.receive_datagram(datagram, now)),
            on_refused=self._on_refused,
        )
        self._splicer = PortSplicer(
            machines.predictor,
            SpliceTable(settings.interface, identity.listen_port),
            mark=settings.fwmark,
            on_datagram=lambda datagram: mutate(
                lambda now: mesh.receive_at_opened_port(datagram, now)
            ),
            on_spliced=mesh.spliced,
        )
        self._relays = RelayKeeper(
            traversal,
            RelaySettings(identity.listen_port, settings.fwmark, settings.turn_ca_file),
            rng=rng,
            on_change=self._on_traversal_changed,
        )
        self._relays.set_servers(settings.turn(wall))
        self._port_mapping = PortMappingKeeper(
            settings, identity, rng=rng, on_change=self._on_mapped, outlives=keeps_tunnel
        )
        self.nat = NatObserver(mark=settings.fwmark, rng=rng, on_found=self._on_nat_found)
        """What stands between this host and the internet."""
        self._reader = NetworkReader(
            settings,
            port=identity.listen_port,
            traversal=traversal,
            on_ways=self._on_ways,
            on_network=self._on_network,
            on_servers=self.nat.servers_changed,
            on_change=self._on_traversal_changed,
        )

    def open(self) -> None:
        """Begin to receive, and take over what a former run has spliced.

        Raises:
            SharedPortError: the shared port cannot be opened.
        """
        self._port.open()
        self._mutate(lambda now: self._splicer.start(adopt=self._adopts, now=now))

    def close(self) -> None:
        """Close every port; harmless if they are not open."""
        self._port.close()
        self._splicer.close()

    def parts(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Return what runs until it is cancelled."""
        return (
            self._reader.run(),
            self._relays.run(),
            self._port_mapping.run(),
            self.nat.run(),
            self._splicer.run(),
            keep_mended(self._port),
        )

    def renew(self, settings: Settings) -> None:
        """Take other servers, and another MTU, from now on."""
        self._settings = settings
        self._reader.renew(settings)
        self._relays.set_servers(settings.turn(wall))
        self._set_mtu()

    def say_goodbye(self) -> None:
        """Release what the TURN servers keep for us, while the connections still stand."""
        self._relays.say_goodbye()

    # What the mesh asks for -------------------------------------------------------------------

    def send(self, datagram: Datagram) -> None:
        """Send a datagram from its source; one that cannot be sent is counted."""
        if not self._splicer.send(datagram):
            self._port.send(datagram)

    def flush(self) -> None:
        """Send what the traversal has for TURN servers."""
        self._relays.flush()

    def handle_relay_event(self, event: RelayEvent) -> None:
        """Connect to TURN servers, plug and unplug, as the traversal asks."""
        self._relays.handle_event(event)

    def handle_prediction_event(self, event: PredictionEvent) -> None:
        """Open and splice ports as the predictor asks."""
        self._splicer.handle_event(event, self._loop.time())

    def relay_left(self, peer: PeerId, endpoint: Endpoint) -> None:
        """Tell for a while of a peer's data that still comes by a plug which it has left."""
        self._relays.hand_over(
            endpoint, lambda: self._mutate(lambda now: self._mesh.note_late(peer, now))
        )

    def relay_taken(self, endpoint: Endpoint) -> None:
        """Take data that comes by a plug as a matter of course again."""
        self._relays.resume(endpoint)

    # What it knows ----------------------------------------------------------------------------

    @property
    def port_mappings(self) -> tuple[PortMappingStatus, ...]:
        """The port mappings, as shown to a person."""
        return self._port_mapping.statuses()

    @property
    def families(self) -> frozenset[int]:
        """IP versions (4, 6) by which paths can be checked."""
        return self._port.families

    @property
    def counters(self) -> Mapping[str, Mapping[str, int]]:
        """What was sent, received and dropped, by part."""
        return {
            "nat": self._traversal.counters,
            "port": self._port.counters,
            "relay": self._relays.counters,
            "port-mapping": self._port_mapping.counters,
            "prediction": self._predictor.counters + self._splicer.counters,
        }

    # What the network says --------------------------------------------------------------------

    def _on_refused(self, datagram: Datagram, error: str) -> None:
        # Refused in the middle of a drain: told when that is over.
        self._loop.call_soon(self._mutate, lambda now: self._mesh.not_sent(datagram, error, now))

    def _on_network(self, network: HostNetwork) -> None:
        self._relays.network_changed()
        self._port_mapping.network_changed(network)
        self.nat.network_changed(network)
        self._underlay_mtu = network.mtu
        self._set_mtu()

    def _set_mtu(self) -> None:
        mtu = interface_mtu(self._underlay_mtu, self._settings.mtu)
        self._mutate(lambda now: self._mesh.set_mtu(mtu))

    def _on_ways(self, ways: Ways) -> None:
        choices = ways.choices()
        self._port.set_ways(choices)
        self._splicer.set_ways(choices)
        self._tell_ways(ways)

    def _on_mapped(self, mappings: tuple[MappedEndpoint, ...]) -> None:
        self._traversal.set_mapped(mappings, self._loop.time())
        self._on_traversal_changed()

    def _on_nat_found(self) -> None:
        # Of IPv4: behind IPv6 firewalls nobody needs to be warned.
        v4 = (found.behaviour for found in self.nat.found if found.base.ip.version == 4)
        behaviour = next(v4, None)
        self._mutate(lambda now: self._mesh.set_nat(behaviour, now))

    def _on_traversal_changed(self) -> None:
        self._mutate(self._mesh.drain_traversal)
