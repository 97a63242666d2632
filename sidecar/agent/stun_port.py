"""Which of its two ways STUN takes to share WireGuard's port: by what this process may do."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from nat.io.demultiplexed_port import DemultiplexedPort, removal
from nat.io.shared_port import SharedPort
from nat.io.stun_port import StunPort
from nat.machine import Datagram

from .. import nft
from ..capabilities import Capability
from ..errors import NftError
from ..host import read_host

_log = logging.getLogger(__name__)

MEND_INTERVAL: Final = 5.0
"""Seconds between looks at the rules: without them no check arrives, and selected paths are lost."""


def stun_port(
    interface: str,
    port: int,
    *,
    mark: int,
    on_datagram: Callable[[Datagram], None],
    on_refused: Callable[[Datagram, str], None],
) -> StunPort:
    """Return a raw socket's port where CAP_NET_RAW is granted, and nftables' where it is not."""
    if Capability.NET_RAW in read_host().effective:
        return SharedPort(port, mark=mark, on_datagram=on_datagram, on_refused=on_refused)
    _log.info("no raw sockets: nftables tells STUN apart", extra={"port": port})
    return demultiplexed_port(
        interface, port, mark=mark, on_datagram=on_datagram, on_refused=on_refused
    )


def demultiplexed_port(
    interface: str,
    port: int,
    *,
    mark: int,
    on_datagram: Callable[[Datagram], None],
    on_refused: Callable[[Datagram, str], None],
) -> StunPort:
    """Return a port whose rules libnftables makes in this process."""
    return DemultiplexedPort(
        port,
        mark=mark,
        load=_load,
        show=_show,
        table=table_name(interface),
        on_datagram=on_datagram,
        on_refused=on_refused,
    )


async def keep_mended(port: StunPort) -> None:
    """Look after a port until cancelled: `nft flush ruleset` takes everybody's rules."""
    while True:
        await asyncio.sleep(MEND_INTERVAL)
        try:
            if port.mend():
                _log.warning("rules that tell STUN apart had gone, put back")
        except OSError as error:
            _log.debug("rules that tell STUN apart not mended", extra={"error": str(error)})


def remove_demultiplexer(interface: str) -> None:
    """Remove what an agent that was killed has left; harmless if there is nothing."""
    try:
        nft.run(removal(table_name(interface)))
    except NftError:
        return  # what cannot be made has not been made


def table_name(interface: str) -> str:
    """Return the name of the rules' table."""
    return f"kbwg-stun-{interface}".replace(".", "-")


def _load(commands: str) -> None:
    try:
        nft.run(commands)
    except NftError as error:
        raise OSError(str(error)) from error


def _show(table: str) -> object | None:
    try:
        return nft.query(f"list table inet {table}")
    except NftError:
        return None
