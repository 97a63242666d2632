"""STUN servers are named; their addresses are looked up again and again."""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from ..machine import Endpoint

_log = logging.getLogger(__name__)

REFRESH: Final = 600.0
"""Seconds between look-ups of names that resolved; a server moves rarely."""

RETRY: Final = 5.0
"""Seconds until names that did not resolve are tried again; the network may just be coming up."""

TIMEOUT: Final = 5.0
"""Seconds for one look-up: the resolver's own patience is longer than ours."""


async def keep_resolved(
    servers: Sequence[tuple[str, int]], on_endpoints: Callable[[tuple[Endpoint, ...]], None]
) -> None:
    """Look `servers` up for ever; report every change of the endpoints they have in all."""
    known: tuple[Endpoint, ...] | None = None
    while True:
        answers = await asyncio.gather(*(_resolve(host, port) for host, port in servers))
        endpoints = _merged(answers)
        if endpoints != known and (endpoints or known is None):
            # A failing resolver takes no server away that worked.
            known = endpoints
            on_endpoints(endpoints)
        await asyncio.sleep(REFRESH if all(answers) else RETRY)


async def resolve_all(servers: Sequence[tuple[str, int]]) -> tuple[Endpoint, ...]:
    """Look `servers` up once; those that have no address are left out."""
    return _merged(await asyncio.gather(*(_resolve(host, port) for host, port in servers)))


def _merged(answers: Sequence[tuple[Endpoint, ...]]) -> tuple[Endpoint, ...]:
    return tuple(dict.fromkeys(endpoint for answer in answers for endpoint in answer))


async def _resolve(host: str, port: int) -> tuple[Endpoint, ...]:
    try:
        return (Endpoint(ip_address(host), port),)
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(TIMEOUT):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, TimeoutError, ValueError) as error:
        # ValueError: a name that the resolver does not even try (too long a label, a NUL in it).
        _log.debug("name not resolved", extra={"host": host, "error": str(error)})
        return ()
    first: dict[int, Endpoint] = {}
    for _, _, _, _, address in found:
        endpoint = Endpoint(ip_address(str(address[0]).partition("%")[0]), port)
        first.setdefault(endpoint.ip.version, endpoint)  # one of each family is one server
    return tuple(first.values())
