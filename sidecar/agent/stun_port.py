"""Which of its two ways STUN takes to share WireGuard's port: by what this process may do."""

import logging
from collections.abc import Callable

from nat.io.demultiplexed_port import DemultiplexedPort, removal
from nat.io.shared_port import SharedPort
from nat.machine import Datagram

from .. import nft
from ..capabilities import Capability
from ..errors import NftError
from ..host import read_host

_log = logging.getLogger(__name__)

StunPort = SharedPort | DemultiplexedPort


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
    return DemultiplexedPort(
        port,
        mark=mark,
        load=_load,
        table=table_name(interface),
        on_datagram=on_datagram,
        on_refused=on_refused,
    )


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
