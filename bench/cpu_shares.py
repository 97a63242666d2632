"""What each program of a lab costs while data flows: its CPU time by /proc, for what it carried."""

import os
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from integration.lab import Lab

TICKS: Final = os.sysconf("SC_CLK_TCK")
"""Clock ticks a second, in which /proc counts (proc(5))."""

_USER, _SYSTEM = 11, 12
"""Fields of /proc/PID/stat behind the name: ticks in the program, and in the kernel for it."""

Shares = Mapping[str, float]
"""CPU seconds by node and program."""


@contextmanager
def spent(lab: Lab, nodes: Sequence[str]) -> Iterator[dict[str, float]]:
    """Count the CPU seconds of what runs in these nodes, from the beginning to the end."""
    seconds: dict[str, float] = {}
    before = _read(lab, nodes)
    yield seconds
    for program, after in _read(lab, nodes).items():
        seconds[program] = after - before.get(program, 0.0)


def table(title: str, measured: Mapping[str, Sequence[Shares]]) -> str:
    """Return medians by program as a Markdown table.

    Args:
        title: what is measured, with its unit.
        measured: shares, already divided by what was carried, by variant and round.
    """
    programs = sorted(
        {name for rounds in measured.values() for round_ in rounds for name in round_}
    )
    rows = {
        program: [
            statistics.median(round_.get(program, 0.0) for round_ in rounds)
            for rounds in measured.values()
        ]
        for program in programs
    }
    lines = [title, "", "| program | " + " | ".join(measured) + " |"]
    lines.append("| --- |" + " ---: |" * len(measured))
    lines += [
        f"| {program} | " + " | ".join(f"{value:.2f}" for value in values) + " |"
        for program, values in rows.items()
        if max(values) >= 0.01
    ]
    return "\n".join(lines)


def _read(lab: Lab, nodes: Sequence[str]) -> dict[str, float]:
    seconds: defaultdict[str, float] = defaultdict(float)
    for node in nodes:
        # A process may end meanwhile: what it has cost is lost then, as it is to the kernel.
        said = lab.exec(node, ["sh", "-c", "cat /proc/[0-9]*/stat 2>/dev/null || true"]).stdout
        for line in said.splitlines():
            name, _, rest = line.partition("(")[2].rpartition(")")
            fields = rest.split()
            ticks = int(fields[_USER]) + int(fields[_SYSTEM])
            seconds[f"{node}: {name}"] += ticks / TICKS
    return dict(seconds)
