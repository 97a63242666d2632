"""What a team of a thousand costs one agent, against a team of ten.

The agent is the real one, in the namespaces lab, beside the Keybase simulator and wireguard-go; what
counts is its own CPU time and memory (`integration.members`). Nobody answers at the members'
addresses, so that it hunts for all of them for ever.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from integration.members import Figures, join

from .rounds import Comparison, Variant

FEW: Final = 10
MANY: Final = 1_000


def _measure(members: int, figure: Callable[[Figures], float], *, idle: bool) -> float:
    name = f"bench-members-{os.getpid()}"
    return figure(join(members, name, idle=20.0 if idle else 0.0))


@contextmanager
def comparisons() -> Iterator[list[Comparison]]:
    """Compare CPU until every peer is configured, memory, and idleness."""
    figures: list[tuple[str, str, Callable[[Figures], float], bool]] = [
        ("CPU until every peer is configured", "s", lambda figures: figures.cpu, False),
        ("memory", "MiB", lambda figures: figures.memory, True),
        ("memory at its peak", "MiB", lambda figures: figures.peak, True),
        ("CPU while all are hunted", "% of a core", lambda figures: 100 * figures.idle, True),
    ]
    yield [
        Comparison(
            title=f"members: {title}",
            unit=unit,
            baseline=f"{FEW}",
            variants=[
                Variant(
                    f"{members:,}",
                    lambda members=members, figure=figure, idle=idle: _measure(  # type: ignore[misc]
                        members, figure, idle=idle
                    ),
                )
                for members in (FEW, MANY)
            ],
        )
        for title, unit, figure, idle in figures
    ]
