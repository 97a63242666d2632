"""Looks at the team's members and at its `peers.json`, for ever."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Final

from ..errors import KbfsError, KeybaseError, PeersFileError, TeamConfigError, TeamError
from ..health import Condition, Health
from ..keybase.client import KeybaseClient
from ..keybase.editing import conflict_copies
from ..keybase.models import Membership
from ..peers_file import PeersFile, parse_peers_file
from ..team_config import TeamConfig, parse_team_config
from .team_settings import path_of

_log = logging.getLogger(__name__)

CONFLICT_INTERVAL: Final = 300.0
"""Seconds between looks for conflict copies beside `peers.json`."""

FIRST_RETRY: Final = 2.0
LAST_RETRY: Final = 15.0
"""Seconds until a failed look at members or files is tried again; doubles. Each try starts programs,
and whoever was removed from the team must be gone soon after Keybase is back."""


class TeamReader:
    """Reads what the team has decided; what cannot be read is health, and stays in force.

    Args:
        client: Keybase.
        team: whose members and file.
        subnet: the overlay network, to which the file's addresses belong.
        interval: seconds between looks at the members, and at a file: KBFS tells the CLI of no change.
        health: told of what cannot be read.
        on_membership: gets the members after every look.
        on_team_config: gets `kbwg.json` after every look that found it readable, and its text;
            `None`: there is none.
        on_peers_file: gets the file after every look that found it readable; `None`: there is none.
    """

    def __init__(
        self,
        client: KeybaseClient,
        *,
        team: str,
        subnet: IPv4Network,
        interval: float,
        health: Health,
        on_membership: Callable[[Membership], None],
        on_peers_file: Callable[[PeersFile | None], None],
        on_team_config: Callable[[TeamConfig, bytes | None], None],
    ) -> None:
        self._client = client
        self._team = team
        self._peers_path = f"/keybase/team/{team}/peers.json"
        self._subnet = subnet
        self._interval = interval
        self._health = health
        self._on_membership = on_membership
        self._on_peers_file = on_peers_file
        self._on_team_config = on_team_config
        self._team_id: str | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self._look_at_members, self._interval))
            group.create_task(self._repeat(self._look_at_peers_file, self._interval))
            group.create_task(self._repeat(self._look_at_team_config, self._interval))
            group.create_task(self._repeat(self._look_for_conflicts, CONFLICT_INTERVAL))

    async def _repeat(self, look: Callable[[], Awaitable[bool]], interval: float) -> None:
        retry = FIRST_RETRY
        while True:
            if await look():
                retry = FIRST_RETRY
                await asyncio.sleep(interval)
            else:
                await asyncio.sleep(retry)
                retry = min(2 * retry, LAST_RETRY)

    async def _look_at_members(self) -> bool:
        try:
            membership = await self._client.membership(self._team)
        except (KeybaseError, TeamError) as error:
            self._raise(
                Condition.MEMBERSHIP_UNREADABLE, f"the team's members cannot be read: {error}"
            )
            return False
        self._health.clear(Condition.MEMBERSHIP_UNREADABLE)
        self._on_membership(membership)
        if self._team_id is None:
            await self._look_at_team(membership)
        return True

    async def _look_at_team(self, membership: Membership) -> None:
        """Learn the team's id, which nothing but overlay IPv6 waits for."""
        try:
            self._team_id = await self._client.team_id(self._team)
        except KeybaseError as error:
            _log.debug("team id unknown, asked again", extra={"error": str(error)})
        else:
            self._on_membership(replace(membership, team_id=self._team_id))

    async def _look_at_peers_file(self) -> bool:
        try:
            content = await self._client.read_file(self._peers_path)
        except KbfsError as error:
            text = f"peers.json cannot be read, the last good copy stays in force: {error}"
            self._raise(Condition.PEERS_FILE_UNREADABLE, text)
            return False
        self._health.clear(Condition.PEERS_FILE_UNREADABLE)
        try:
            parsed = None if content is None else parse_peers_file(content, self._subnet)
        except PeersFileError as error:
            text = f"peers.json is invalid, the last good copy stays in force: {error}"
            self._raise(Condition.PEERS_FILE_INVALID, text)
            return False
        self._health.clear(Condition.PEERS_FILE_INVALID)
        self._on_peers_file(parsed)
        return True

    async def _look_for_conflicts(self) -> bool:
        try:
            copies = await conflict_copies(self._client, self._peers_path)
        except KbfsError as error:
            _log.debug("conflict copies unknown", extra={"error": str(error)})
            return False
        text = (
            f"two wrote peers.json at once, and {', '.join(copies)} beside it holds what one of "
            "them meant: put it in by `kbwg peers edit` and remove the copy"
        )
        cases = [("", text)] if copies else []
        self._health.replace(Condition.PEERS_FILE_CONFLICT, cases, now=datetime.now(UTC))
        return True

    async def _look_at_team_config(self) -> bool:
        try:
            content = await self._client.read_file(path_of(self._team))
        except KbfsError as error:
            text = f"kbwg.json cannot be read, what it said last stays in force: {error}"
            self._raise(Condition.TEAM_CONFIG_UNREADABLE, text)
            return False
        self._health.clear(Condition.TEAM_CONFIG_UNREADABLE)
        try:
            config = TeamConfig() if content is None else parse_team_config(content)
        except TeamConfigError as error:
            text = f"kbwg.json is invalid, what it said last stays in force: {error}"
            self._raise(Condition.TEAM_CONFIG_INVALID, text)
            return False
        self._health.clear(Condition.TEAM_CONFIG_INVALID)
        self._on_team_config(config, content)
        return True

    def _raise(self, condition: Condition, text: str) -> None:
        self._health.set(condition, text, now=datetime.now(UTC))
