"""The NAT grid: every pair of kinds of network, and whether it gets the path that it allows.

Each cell is a lab of its own, so cells run side by side. What a cell must show: the kind of path
that `expectation` computes, at both ends alike; pings both ways and a flow of numbered
datagrams without loss over it.
"""

import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import artifacts, mesh
from .errors import LabError, LabTimeoutError
from .expectation import Ends, expected_paths
from .kinds import Cell
from .lab import Lab
from .waiting import patiently

TOPOLOGY: Final = Path(__file__).resolve().parents[1] / "compose" / "pair.yaml"

TURN_SERVERS: Final = "turn:198.18.0.20:3478?transport=udp,turns:198.18.0.20:443?transport=tcp"
"""UDP where it passes, and what gets through everywhere."""

NETWORK: Final = (
    "internet",
    "carrier-a",
    "carrier-b",
    "router-a",
    "router-b",
    "stun",
    "turn",
    "keybase",
)
"""What stands before the agents start."""

AGENTS: Final = ("alice", "bob")

JOBS: Final = 4
"""How many cells run side by side. An agent mostly waits once it has started: more cells than
that make two cores slower at starting them than one after the other would be."""

PATH_SECONDS: Final = 30.0
"""Until the path must stand. It takes tenths of a second on a machine that is idle; this one
starts other labs at the same time."""

FLOW_SECONDS: Final = 1.0
"""How long numbered datagrams flow, 50 a second each way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a cell."""

    cell: Cell
    expected: frozenset[Ends]
    """Empty: no path can exist."""

    found: Ends | None = None
    """The path that both agents show; `None`: they show none, or not the same."""

    connected_after: float | None = None
    """Seconds from when both know of each other until data flows, be it over a relay."""

    settled_after: float | None = None
    """The same, until both show the path that they must have."""

    error: str | None = None
    """What was wrong; `None`: nothing."""

    artifacts: Path | None = None
    """Where the packets, rules, logs and status of a failed cell are."""


def run(
    cells: Sequence[Cell],
    *,
    relays: bool,
    artifacts: Path,
    jobs: int = JOBS,
    report: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Run cells, several at a time.

    Args:
        cells: which.
        relays: whether the agents are told of a TURN server.
        artifacts: where a failed cell leaves what is known of it.
        jobs: how many at a time.
        report: is told of each outcome when it is there.

    Returns:
        The outcomes in the order of `cells`.
    """
    with _pool(jobs) as pool:
        futures = [pool.submit(_outcome, cell, relays, artifacts) for cell in cells]
        for future in as_completed(futures):
            report(future.result())
    return [future.result() for future in futures]


@contextmanager
def _pool(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads; an interruption ends what runs in them."""
    pool = ThreadPoolExecutor(jobs)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        # Their threads end by the errors that this makes in them.
        for lab in list(Lab.live):
            lab.down()
        raise
    finally:
        pool.shutdown()


_numbers: Final = itertools.count(1)


def _outcome(cell: Cell, relays: bool, directory: Path) -> Outcome:
    expected = expected_paths(cell.a.nat, cell.b.nat, relays=relays)
    here = directory / str(cell).replace(":", "-")
    shutil.rmtree(here, ignore_errors=True)
    settings = {
        **cell.settings,
        "TURN_SERVERS": TURN_SERVERS if relays else "",
        # What a pair of NATs allows by itself; prediction has tests of its own.
        "PORT_PREDICTION": "off",
    }
    try:
        name = f"grid{os.getpid()}-{next(_numbers)}"
        with Lab.up(TOPOLOGY, settings, name, services=NETWORK) as lab:
            return _Trial(lab, cell, expected, here).run()
    except LabError as error:
        return Outcome(cell=cell, expected=expected, error=f"the lab failed: {error}")


class _Trial:
    """One cell, in a lab whose network stands."""

    def __init__(self, lab: Lab, cell: Cell, expected: frozenset[Ends], directory: Path) -> None:
        self._lab = lab
        self._cell = cell
        self._expected = expected
        self._directory = directory
        self._found: Ends | None = None
        self._connected_after: float | None = None
        self._settled_after: float | None = None

    def run(self) -> Outcome:
        recording = self._lab.capture("internet")
        error: str | None = None
        try:
            for agent in AGENTS:
                self._lab.start(agent)
            if self._expected:
                self._expect_path()
            else:
                self._expect_none()
        except (LabError, AssertionError) as failure:
            error = str(failure) or repr(failure)
        if error is not None:
            recording.stop()
            artifacts.collect(self._lab, self._directory)
        return Outcome(
            cell=self._cell,
            expected=self._expected,
            found=self._found,
            connected_after=self._connected_after,
            settled_after=self._settled_after,
            error=error,
            artifacts=self._directory if error is not None else None,
        )

    def _expect_path(self) -> None:
        began = self._wait_introduced()
        deadline = began + patiently(PATH_SECONDS)
        while self._settled_after is None:
            self._found = self._path()
            now = time.monotonic()
            if self._found is not None and self._connected_after is None:
                self._connected_after = now - began
            if self._found in self._expected:
                self._settled_after = now - began
            elif now > deadline:
                raise LabTimeoutError(
                    f"after {patiently(PATH_SECONDS):g} s the path is {_text(self._found)},"
                    f" not {' or '.join(map(_text, self._expected))}"
                )
            else:
                time.sleep(0.02)
        mesh.ping_all(self._lab, AGENTS)
        with mesh.traffic(self._lab, *AGENTS) as flow:
            time.sleep(FLOW_SECONDS)
            flowed = flow.stop()
        assert flowed.a_to_b.received > 0, "no datagram arrives"
        assert flowed.lost_count == 0, f"{flowed.lost_count} datagrams are lost: {flowed}"
        self._found = self._path()
        assert self._found in self._expected, f"the path became {_text(self._found)}"

    def _expect_none(self) -> None:
        mesh.expect_no_path(self._lab, *AGENTS)

    def _wait_introduced(self) -> float:
        """Wait until both agents know of each other; returns when."""
        self._lab.wait_for(
            lambda: all(self._lab.status(agent).peers for agent in AGENTS),
            PATH_SECONDS,
            "both agents know of each other",
        )
        return time.monotonic()

    def _path(self) -> Ends | None:
        return mesh.path_between(self._lab, *AGENTS)


def _text(ends: Ends | None) -> str:
    return "none" if ends is None else str(ends)
