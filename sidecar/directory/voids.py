"""Messages that do not count any more: edited or deleted.

An edit voids its message whoever made it: Keybase's client shows the new text under the old sender
without comparing the two. A deletion voids only with authority: by the author's user or by one who
leads the team. Others' are the server's fault or worse, and change nothing.
"""

from collections.abc import Mapping
from typing import Final

from ..keybase.models import LEADER_ROLES, TeamRole

MAX_VOID: Final = 10_000
"""Ids of edited and of deleted messages that are remembered, the latest ones."""


class Voids:
    """Ids of messages that were edited or deleted, whether they have come in yet or not."""

    def __init__(self) -> None:
        self._edited: set[int] = set()
        self._deleted: dict[int, dict[int, str]] = {}

    def edit(self, id_: int) -> None:
        """Take in that a message was edited."""
        self._edited.add(id_)
        if len(self._edited) > 2 * MAX_VOID:
            self._edited = set(sorted(self._edited)[-MAX_VOID:])

    def delete(self, id_: int, by: int, username: str) -> None:
        """Take in that message `by` of a user deletes another."""
        self._deleted.setdefault(id_, {})[by] = username
        if len(self._deleted) > 2 * MAX_VOID:
            latest = sorted(self._deleted)[-MAX_VOID:]
            self._deleted = {deleted: self._deleted[deleted] for deleted in latest}

    def edited(self, id_: int) -> bool:
        """Whether a message was edited."""
        return id_ in self._edited

    def deleted_by(self, id_: int, author: str, roles: Mapping[str, TeamRole]) -> int | None:
        """Return the id of the first deletion of a message that has authority; `None`: none has.

        Args:
            id_: the message.
            author: its sender's username.
            roles: of the team's members.
        """
        deletions = self._deleted.get(id_, {})
        return min(
            (
                by
                for by, username in deletions.items()
                if username == author or roles.get(username) in LEADER_ROLES
            ),
            default=None,
        )
