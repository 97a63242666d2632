"""Asks the TURN servers without an agent: each is connected to, and gives its relay back at once."""

import asyncio
import secrets
from typing import Final

from nat.io.relay import RelaySettings
from nat.path.events import TraversalEvent
from nat.traversal import Traversal
from nat.turn.events import (
    ConnectionReleased,
    ConnectionRequested,
    ReconnectRequested,
    RelayChannelBound,
    RelayChannelLost,
    TurnServerChanged,
)

from ..agent.relay_keeper import RelayKeeper
from ..agent.report import relay_statuses
from ..agent.wall_clock import wall
from ..settings import Settings
from ..status import RelayStatus

PATIENCE: Final = 5.0
"""Seconds for all servers: a handshake of TCP and TLS with a lost SYN each, and an allocation."""

LOOK: Final = 0.05
"""Seconds between looks whether all have answered."""


async def ask_relays(settings: Settings, port: int) -> tuple[RelayStatus, ...]:
    """Find out which of the TURN servers would relay for us.

    Args:
        settings: the servers and their credentials.
        port: where nobody receives: no data is relayed.
    """
    servers = settings.turn(wall)
    if not servers:
        return ()
    loop = asyncio.get_running_loop()
    traversal = Traversal(rng=secrets.SystemRandom(), now=loop.time())
    keeper = RelayKeeper(
        traversal,
        RelaySettings(port, settings.fwmark, settings.turn_ca_file),
        rng=secrets.SystemRandom(),
        on_change=lambda: None,
    )
    keeper.set_servers(servers)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(keeper.run())
        deadline = loop.time() + PATIENCE
        while loop.time() < deadline:
            await asyncio.sleep(LOOK)
            traversal.handle_timeout(loop.time())
            while (event := traversal.next_event()) is not None:
                _handle(keeper, event)
            keeper.flush()
            reports = traversal.turn_servers
            if all(each.trouble or each.relayed for each in reports):
                break
        statuses = relay_statuses(traversal.turn_servers)
        keeper.say_goodbye()
        running.cancel()
    return statuses


def _handle(keeper: RelayKeeper, event: TraversalEvent) -> None:
    match event:
        case (
            ConnectionRequested()
            | ConnectionReleased()
            | ReconnectRequested()
            | RelayChannelBound()
            | RelayChannelLost()
            | TurnServerChanged()
        ):
            keeper.handle_event(event)
        case _:
            pass  # paths and candidates: there are no peers
