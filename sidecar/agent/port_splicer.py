"""Does for port prediction what only a host can: opens ports, holds them, splices the one that won.

Where nftables is not to be had, nothing is ever spliced; this host then still helps peers that can.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import Final, assert_never

from nat.io.port_fan import PortFan
from nat.io.ways import Ways
from nat.machine import Datagram, Endpoint
from nat.prediction.events import (
    PortsDone,
    PortsWanted,
    PortWon,
    PredictionEvent,
    SpliceReleased,
)
from nat.prediction.predictor import Predictor
from nat.prediction.splice import Splice

from ..errors import NftError
from ..splice_table import SpliceTable

_log = logging.getLogger(__name__)

MEND_INTERVAL: Final = 5.0
"""Seconds between looks at the rules; a path that lost them is given up after a minute."""


class PortSplicer:
    """Carries out what the predictor asks for.

    Args:
        predictor: whose events are carried out.
        table: the splices in the kernel.
        mark: SO_MARK of what is sent; 0 for none.
        on_datagram: gets what comes in at opened ports.
        on_spliced: called when a port that won is in force.
    """

    def __init__(
        self,
        predictor: Predictor,
        table: SpliceTable,
        *,
        mark: int,
        on_datagram: Callable[[Datagram], None],
        on_spliced: Callable[[PortWon, float], None],
    ) -> None:
        self._predictor = predictor
        self._table = table
        self._on_spliced = on_spliced
        self._fan = PortFan(mark=mark, on_datagram=on_datagram)

    @property
    def counters(self) -> Counter[str]:
        """What the opened ports have sent and received, and what failed."""
        return self._fan.counters

    def start(self, *, adopt: bool, now: float) -> None:
        """Find out what is possible here, and take over what a former run has spliced.

        Args:
            adopt: whether the tunnel of a former run goes on; if not, its splices go.
            now: current time in seconds.
        """
        try:
            if adopt:
                self._adopt(now)
            else:
                self._table.clear()
            self._table.check()
        except NftError as error:
            _log.info("no ports can be spliced here", extra={"error": str(error)})
            return
        self._predictor.set_able(True, now)

    async def run(self) -> None:
        """Look after the rules until cancelled: `nft flush ruleset` takes everybody's."""
        while True:
            await asyncio.sleep(MEND_INTERVAL)
            try:
                if self._table.mend():
                    _log.warning("splices had gone, put back")
            except NftError as error:
                _log.debug("splices not mended", extra={"error": str(error)})

    def close(self) -> None:
        """Close all ports. The splices live as long as the tunnel: who removes that removes them."""
        self._fan.close()

    def set_ways(self, ways: Ways) -> None:
        """Say by which interface datagrams leave."""
        self._fan.set_ways(ways)

    def send(self, datagram: Datagram) -> bool:
        """Send from an opened port; whether `datagram` was one for us."""
        if not self._fan.has(datagram.source):
            return False
        self._fan.send(datagram)
        return True

    def handle_event(self, event: PredictionEvent, now: float) -> None:
        """Do what the predictor asks for."""
        match event:
            case PortsWanted(peer=peer, ip=ip, remote=remote, count=count):
                ports = self._fan.open(ip, remote, count)
                _log.debug("ports opened", extra={"ports": len(ports)})
                self._predictor.ports_opened(peer, ports, now)
            case PortsDone():
                self._fan.close_open()
            case PortWon():
                self._splice(event, now)
            case SpliceReleased(splice=splice):
                self._release(splice)
            case _:
                assert_never(event)

    def _adopt(self, now: float) -> None:
        splices = self._table.load()
        for splice in splices:
            # The port may be somebody else's by now. That harms neither: only what the peer's
            # endpoint sends is spliced.
            self._fan.adopt(_local(splice))
        self._predictor.adopt(splices, now)

    def _splice(self, won: PortWon, now: float) -> None:
        try:
            self._table.add(won.splice)
        except NftError as error:
            _log.warning("port not spliced", extra={"error": str(error)})
            self._predictor.splice_failed(won.peer)
            return
        self._fan.keep(_local(won.splice))
        _log.info("port spliced", extra={"port": won.splice.port})
        self._on_spliced(won, now)

    def _release(self, splice: Splice) -> None:
        self._fan.release(_local(splice))
        try:
            self._table.remove(splice)
        except NftError as error:
            _log.debug("splice not removed", extra={"error": str(error)})
        _log.info("splice removed", extra={"port": splice.port})


def _local(splice: Splice) -> Endpoint:
    return Endpoint(splice.base.ip, splice.port)
