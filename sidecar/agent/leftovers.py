"""What an agent has made of the host, and how all of it goes away again."""

from ..firewall.nft import Firewall
from ..wireguard.backend import Backend


async def remove_all(backend: Backend) -> None:
    """Remove the interface and everything that was made for it; harmless if there is nothing.

    The interface goes first: without it the filter has nothing to hold back.

    Raises:
        BackendError: something would not go.
    """
    await backend.destroy()
    await Firewall().remove(backend.interface)
