"""What gets lost between two nodes: the meter behind every "zero lost"."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

from .errors import LabError
from .node_process import NodeProcess
from .topology import IPAddress

RATE: Final = 50.0
"""Datagrams per second each way: often enough that a gap of 20 ms shows."""

PORT: Final = 7007
"""UDP port of both ends."""

LINGER_SECONDS: Final = 1.0
"""How long datagrams may still be under way when both ends have stopped sending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """What became of the datagrams of one direction."""

    sent: int
    received: int
    """Different ones; `sent` less those in `lost`."""

    lost: tuple[range, ...]
    """Numbers that never arrived, as runs."""

    refused: int
    """How many of the lost ones the sender's own kernel would not send."""

    duplicated: int
    reordered: int
    longest_gap: float
    """Seconds between two datagrams that arrived one after the other, at most."""

    @property
    def lost_count(self) -> int:
        return sum(len(run) for run in self.lost)


@dataclass(frozen=True, slots=True)
class Report:
    """Both directions."""

    a_to_b: Direction
    b_to_a: Direction

    @property
    def lost_count(self) -> int:
        return self.a_to_b.lost_count + self.b_to_a.lost_count


class Place(Protocol):
    """Whatever runs commands in nodes: a lab, or hosts that run the image."""

    def popen(self, node: str, argv: Sequence[str]) -> NodeProcess:
        """Start a command in a node."""


class Traffic:
    """Numbered datagrams both ways between two nodes, from its making until `stop`.

    Args:
        lab: where.
        a: one node and its address, for example `("alice", status.self_.ip)`.
        b: the other.
        rate: datagrams per second, each way.

    Raises:
        LabError: a node does not have its address.
    """

    def __init__(
        self,
        lab: Place,
        a: tuple[str, IPAddress],
        b: tuple[str, IPAddress],
        *,
        rate: float = RATE,
        port: int = PORT,
    ) -> None:
        self._ends = [
            _start(lab, node, f"{own}:{port}", f"{other}:{port}", rate)
            for (node, own), (_, other) in ((a, b), (b, a))
        ]
        for end in self._ends:
            _expect_ready(end)
        self._tell("go")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for end in self._ends:
            end.kill()
            end.communicate()

    def stop(self) -> Report:
        """End the measurement and count."""
        self._tell("stop")
        time.sleep(LINGER_SECONDS)
        a, b = (json.loads(end.communicate("report\n")[0]) for end in self._ends)
        return Report(a_to_b=count(a, b), b_to_a=count(b, a))

    def _tell(self, command: str) -> None:
        for end in self._ends:
            assert end.stdin is not None
            end.stdin.write(command + "\n")
            end.stdin.flush()


def _start(lab: Place, node: str, local: str, remote: str, rate: float) -> NodeProcess:
    argv = ["python", "-m", "integration.traffic_meter", local, remote, f"--rate={rate:g}"]
    return lab.popen(node, argv)


def _expect_ready(end: NodeProcess) -> None:
    assert end.stdout is not None
    if end.stdout.readline() != "ready\n":
        end.kill()
        _, complaint = end.communicate()
        raise LabError(f"no traffic: {complaint.strip()}")


def count(sender: Mapping[str, Any], receiver: Mapping[str, Any]) -> Direction:
    """Compare what one end has sent with what arrived at the other."""
    lost = _runs(set(range(sender["sent"])).difference(receiver["arrived"]))
    return Direction(
        sent=sender["sent"],
        received=len(receiver["arrived"]),
        lost=lost,
        refused=sender["refused"],
        duplicated=receiver["duplicated"],
        reordered=receiver["reordered"],
        longest_gap=receiver["longest_gap"],
    )


def _runs(numbers: set[int]) -> tuple[range, ...]:
    runs: list[range] = []
    for number in sorted(numbers):
        if runs and runs[-1].stop == number:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return tuple(runs)
