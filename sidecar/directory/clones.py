"""Two agents that are the same device: a cloned disk, or a home that is mounted twice (design S2).

Keybase cannot tell them apart, and each would replace the other at every peer. A line says of which
run of the agent it is; a line of another run that comes after our first one is a clone's. Whoever
sees one says its own line once more, so that the other hears of it, too. Then the younger one keeps
silent and has no peers, until it is started again.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from ..announcement import Announcement
from .records import Record


@dataclass(frozen=True, slots=True)
class Clones:
    """What our own device's lines tell of other agents.

    Attributes:
        exist: whether there is another.
        runs: their runs, as far as they say; each is answered once.
        yields: whether ours is the younger one.
        unheard: whether the others cannot know of ours yet, since it has said nothing after them.
    """

    exist: bool = False
    runs: frozenset[int] = frozenset()
    yields: bool = False
    unheard: bool = False

    @property
    def silent(self) -> bool:
        """Whether ours is to say nothing more, not even goodbye: that would be the other's."""
        return self.yields and not self.unheard


NO_CLONES: Final = Clones()


def find_clones(
    lines: Iterable[Record],
    *,
    own_run: int | None,
    own_posts: AbstractSet[int],
    first_post: int | None,
) -> Clones:
    """Look for other agents.

    Args:
        lines: of our own device.
        own_run: ours, as our lines say it.
        own_posts: message ids that this very agent has posted.
        first_post: the first of these; what came before may be of a former run of ours.
    """
    if first_post is None:
        return NO_CLONES
    foreign = [
        record
        for record in lines
        if record.id > first_post
        and record.id not in own_posts
        and (own_run is None or _run(record) != own_run)
    ]
    runs = frozenset(run for record in foreign if (run := _run(record)) is not None)
    yields = own_run is not None and any(run < own_run for run in runs)
    first_foreign = min((record.id for record in foreign), default=0)
    return Clones(bool(foreign), runs, yields, max(own_posts, default=0) < first_foreign)


def _run(record: Record) -> int | None:
    return record.line.run if isinstance(record.line, Announcement) else None
