"""Which conversation a call of the CLI means (§1.2)."""

from typing import Any

from .chat import Conversation
from .world import Device, ServiceError, World

OFFLINE = "operation failed: no connection to chat server"


class Finder:
    """Conversations as the service of one device finds them."""

    def __init__(self, world: World, device: Device) -> None:
        self._world = world
        self._device = device

    def check_online(self) -> None:
        """Refuse what needs the servers while they are out of reach."""
        if not self._device.online:
            raise ServiceError(OFFLINE)

    def check_fail_offline(self, args: dict[str, Any]) -> None:
        """Refuse the same, if the caller wants no cached answer."""
        if args.get("fail_offline"):
            self.check_online()

    def existing(self, args: dict[str, Any]) -> Conversation:
        """Return the conversation; an error names the team, or the id."""
        name, found = self.find(args)
        if found is None:
            raise ServiceError(f'no conversations matched "{name}"')
        return found

    def find(self, args: dict[str, Any]) -> tuple[str, Conversation | None]:
        """Return the name that errors mention, and the conversation if there is one."""
        number = args.get("conversation_id")
        if number:
            found = self._world.chat.conversations.get(number.lower())
            if found is not None:
                self._world.member_team(found.team, self._device)
            return number, found
        wanted = args["channel"]
        # Without members_type "team" the name is that of a conversation between users.
        if wanted.get("members_type") != "team":
            return wanted["name"], None
        self._world.member_team(wanted["name"], self._device)
        return wanted["name"], self._world.chat.find(wanted["name"], *topic_of(wanted))


def topic_of(channel: dict[str, Any]) -> tuple[str, str]:
    """Return the topic's name and type; a team's default is #general."""
    topic = (channel.get("topic_name") or "general").removeprefix("#")
    return topic, (channel.get("topic_type") or "chat").lower()
