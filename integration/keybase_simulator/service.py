"""The Keybase service of one device: every call of the CLI, by name. No I/O."""

from collections.abc import Callable
from typing import Any

from .cache import DeviceCache
from .file_calls import FileCalls
from .finding import Finder
from .posting import Announce, Posting, Publish
from .reading import Reading
from .team_calls import TeamCalls
from .world import Device, World


class Service:
    """The service of one device.

    Args:
        publish: told of each new message, to push it to listeners.
        announce: told of a conversation that a user is in from now on.
    """

    def __init__(
        self,
        world: World,
        device: Device,
        cache: DeviceCache,
        *,
        publish: Publish,
        announce: Announce,
    ) -> None:
        finder = Finder(world, device)
        self._posting = Posting(world, device, finder, publish=publish, announce=announce)
        self._calls: dict[str, Callable[[dict[str, Any], float], Any]] = {
            "notification-settings": lambda args, now: None,
            **Reading(world, device, cache, finder).calls,
            **self._posting.calls,
            **TeamCalls(world, device, cache).calls,
            **FileCalls(world, device).calls,
        }

    def call(self, name: str, args: dict[str, Any], now: float) -> Any:
        """Answer one call.

        Raises:
            ServiceError: with the text that the CLI shows.
        """
        return self._calls[name](args, now)

    def flush_outbox(self, now: float) -> None:
        """Send what was queued while there was no connection."""
        self._posting.flush_outbox(now)
