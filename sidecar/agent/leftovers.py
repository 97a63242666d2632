"""What an agent has made of the host, and how all of it goes away again."""

from ..firewall.nft import Firewall
from ..splice_table import remove_splices
from ..wireguard.backend import Backend
from ..wireguard.route_table import RouteTable
from .stun_port import remove_demultiplexer


async def remove_all(backend: Backend, *tables: RouteTable) -> None:
    """Remove the interface and everything that was made for it; harmless if there is nothing.

    The interface goes first: without it the filter has nothing to hold back, and no datagram
    looks for a route.

    Args:
        backend: of the interface.
        tables: of its host routes, if any were made.

    Raises:
        BackendError: something would not go.
    """
    await backend.destroy()
    await Firewall().remove(backend.interface)
    remove_splices(backend.interface)
    remove_demultiplexer(backend.interface)
    for table in tables:
        await table.clear()
