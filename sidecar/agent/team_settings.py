"""What the team's `kbwg.json` says: at the start, before anything is configured, and later."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Final

from ..errors import KeybaseError, SettingsError, TeamConfigError
from ..health import Condition, Health
from ..keybase.client import KeybaseClient
from ..settings import Settings
from ..store import Store
from ..team_config import FILE, SHARED, TeamConfig, parse_team_config

_log = logging.getLogger(__name__)

FIRST_PATIENCE: Final = 20.0
"""Seconds that a first start waits for KBFS, which starts beside us."""

KNOWN_PATIENCE: Final = 3.0
"""Seconds that a host waits which knows what the file said last."""


def path_of(team: str) -> str:
    """Return where a team's file lies in KBFS."""
    return f"/keybase/team/{team}/{FILE}"


async def read_team_config(client: KeybaseClient, store: Store, team: str) -> TeamConfig:
    """Read the file, or what was last known of it; one that does not exist says nothing.

    Once the agent runs, `TeamReader` looks again and says what is wrong.
    """
    known = known_team_config(store)
    try:
        async with asyncio.timeout(FIRST_PATIENCE if known is None else KNOWN_PATIENCE):
            content = await client.read_file(path_of(team))
        config = TeamConfig() if content is None else parse_team_config(content)
    except (KeybaseError, TeamConfigError, TimeoutError) as error:
        _log.warning("kbwg.json not read", extra={"error": str(error) or "timeout"})
        return known or TeamConfig()
    remember(store, content)
    return config


def remember(store: Store, content: bytes | None) -> None:
    """Keep the file for a start without KBFS."""
    try:
        store.save_team_config(b"{}" if content is None else content)
    except OSError as error:
        _log.warning("kbwg.json not kept", extra={"error": error.strerror})


def settle(settings: Settings, config: TeamConfig) -> Settings:
    """Return the settings with what the team says where this host says nothing.

    Raises:
        SettingsError: host and team differ in what must be alike, or neither names a subnet.
    """
    settled = settings.with_team(config)
    differences = settled.differences(config)
    if differences:
        raise SettingsError("\n".join(differences))
    if not settled.has_subnet:
        raise SettingsError(
            f"KBWG_SUBNET: is not set, and the team's {FILE} names no subnet (or cannot be read)"
        )
    return settled


class TeamSettings:
    """What holds while the agent runs: this host's environment, and what the team says at present.

    Args:
        host: this host's environment.
        config: what the team said at the start.
        store: where it is kept for a start without KBFS.
        health: told of what cannot be followed.

    Raises:
        SettingsError: they do not go together.
    """

    def __init__(self, host: Settings, config: TeamConfig, store: Store, health: Health) -> None:
        self._host = host
        self._config = self._seen = config
        self._store = store
        self._health = health
        self.settings = settle(host, config)
        """What holds now; what the whole team must have alike never changes."""

    def take(self, config: TeamConfig, content: bytes | None) -> bool:
        """Take in what the team says now; return whether something else holds from here on.

        What the whole team must have alike stays as it was at the start. If the file says otherwise,
        that is told, and the rest is followed all the same: who moves the team to another subnet
        must not keep its hosts from a stricter policy, or from servers that work.
        """
        now = datetime.now(UTC)
        unknown = [
            (name, f"{FILE}: this version does not know {name!r}") for name in config.unknown
        ]
        self._health.replace(Condition.TEAM_CONFIG_FIELD, unknown, now=now)
        followed = config.model_copy(update={name: getattr(self._config, name) for name in SHARED})
        obstacle, settled = self._obstacle(config), self.settings
        try:
            settled = settle(self._host, followed)
        except SettingsError as error:
            obstacle, config, followed = str(error), self._seen, self._config
        cases = [] if obstacle is None else [("", obstacle)]
        self._health.replace(Condition.TEAM_CONFIG_DIFFERS, cases, now=now)
        if config != self._seen:
            self._seen = config
            remember(self._store, content)
        if followed == self._config:
            return False
        _log.info("team configuration changed")
        self._config, self.settings = followed, settled
        return True

    def _obstacle(self, config: TeamConfig) -> str | None:
        """Say what of a file cannot be followed before the next start, or could not even then."""
        try:
            settled = settle(self._host, config)
        except SettingsError as error:
            return str(error)
        fixed = [f for f in sorted(SHARED) if getattr(settled, f) != getattr(self.settings, f)]
        if fixed:
            return f"{FILE} changes {' and '.join(fixed)}: start the agent again to follow"
        return None


def known_team_config(store: Store) -> TeamConfig | None:
    """Return what the file said when it was last read; `None`: it never was."""
    content = store.load_team_config()
    if content is None:
        return None
    try:
        return parse_team_config(content)
    except TeamConfigError:
        return None
