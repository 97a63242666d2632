"""`make demo`: a team behind different NATs becomes one mesh, on this machine, in seconds."""

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console

from sidecar.status import PeerState, Status

from . import artifacts, tables
from .errors import LabError
from .lab import Lab

NAME: Final = "demo"
REPOSITORY: Final = Path(__file__).resolve().parents[1]
TOPOLOGY: Final = REPOSITORY / "compose" / "team.yaml"

MESH_SECONDS: Final = 45.0
"""How long the mesh may take; it takes about five on two idle cores."""


def main() -> int:
    """Run the demo; returns the exit status: 0 only if every ping was answered."""
    console = Console(highlight=False)
    interactive = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("DEMO_EXIT") != "1"
    for ending in (signal.SIGTERM, signal.SIGHUP):
        # The terminal may be closed, too: the cleaning up is the same as after Ctrl-C.
        signal.signal(ending, signal.default_int_handler)
    try:
        return _demo(console, interactive=interactive)
    except KeyboardInterrupt:
        return 0 if interactive else 128 + signal.SIGINT
    except LabError as error:
        console.print(f"[bold red]The demo failed:[/] {error}", markup=True)
        return 1


def _demo(console: Console, *, interactive: bool) -> int:
    console.print("[bold]kbwg demo[/]: four hosts, two homes with different NATs, one mesh\n")
    started = time.monotonic()
    with _step(console, "networks, routers, STUN server, Keybase simulator, agents"):
        lab = Lab.up(TOPOLOGY, name=NAME)
    try:
        statuses = _until_connected(console, lab)
        _show(console, statuses)
        answered = _ping_all(console, lab, statuses)
        console.print(f"The whole took {time.monotonic() - started:.1f} s.")
        if interactive:
            _look_around(console, statuses)
            signal.pause()
    except LabError:
        where = REPOSITORY / "artifacts" / NAME
        artifacts.collect(lab, where)
        console.print(f"\nLogs, rules and status of every node are in {where}")
        raise
    finally:
        # A second Ctrl-C must not break off the cleaning up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with _step(console, "removing everything again"):
            lab.down()
    return 0 if answered else 1


def _until_connected(console: Console, lab: Lab) -> dict[str, Status]:
    """Wait for the mesh, and tell of each pair as it comes up."""
    started = time.monotonic()
    told: set[tuple[str, str]] = set()
    wanted = len(lab.agents) * (len(lab.agents) - 1)
    statuses: dict[str, Status] = {}

    def connected() -> bool:
        for node in lab.agents:
            if not lab.running(node):
                raise LabError(f"the agent on {node} ended:\n{lab.last_words(node)}")
            statuses[node] = lab.status(node)
            for peer in statuses[node].peers:
                if peer.state is not PeerState.CONNECTED or peer.path is None:
                    continue
                pair = (node, peer.username)
                if pair not in told:
                    told.add(pair)
                    console.print(
                        f"  [green]✓[/] {node} → {peer.username}: {peer.path.kind}"
                        f" [dim]{time.monotonic() - started:.1f} s[/]"
                    )
        return len(told) == wanted

    with console.status("the agents read the team, announce themselves and look for paths"):
        lab.wait_for(connected, MESH_SECONDS, "every agent is connected to every other")
        # The first round-trip times come with the checks that follow the first one.
        lab.wait_for(lambda: connected() and _measured(statuses), 5, "round-trip times")
    return statuses


def _measured(statuses: dict[str, Status]) -> bool:
    return all(
        peer.path is not None and peer.path.rtt_ms is not None
        for status in statuses.values()
        for peer in status.peers
    )


def _show(console: Console, statuses: dict[str, Status]) -> None:
    console.print("\n[bold]The mesh[/], as each agent reports it:")
    console.print(tables.mesh(statuses))
    console.print(tables.LEGEND)


def _ping_all(console: Console, lab: Lab, statuses: dict[str, Status]) -> bool:
    """Ping every pair through the tunnel, all at once; says whether all were answered."""
    console.print("\n[bold]Pings through the tunnel[/]:")
    nodes = list(statuses)
    running = {
        (source, target): lab.popen(
            source, ["ping", "-n", "-c1", "-W3", str(statuses[target].self_.ip)]
        )
        for source in nodes
        for target in nodes
        if source != target
    }
    rtts: dict[tuple[str, str], float | None] = {}
    for pair, process in running.items():
        output, _ = process.communicate(timeout=10)
        match = re.search(r"time=([\d.]+) ms", output)
        rtts[pair] = float(match[1]) if match else None
    console.print(tables.ping_matrix(nodes, rtts))
    return all(rtt is not None for rtt in rtts.values())


def _look_around(console: Console, statuses: dict[str, Status]) -> None:
    lab = f".venv/bin/python -m integration --lab {NAME}"
    somebody = statuses["carol"].self_.ip
    console.print(f"""
[bold]Look around[/] in another terminal:
  {lab} exec alice -- kbwg status      what one agent knows
  {lab} exec alice -- ping {somebody}   carol, through the tunnel
  {lab} exec router-b -- conntrack -L  carol's NAT at work
  {lab} exec alice -- bash             a shell on a host
  {lab} status                         the table above again
  {lab} logs alice                     an agent's log
  {lab} stop bob, start bob            a host leaves, and comes back

Ctrl-C here, or [bold]make demo-down[/] there, removes everything.""")


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    started = time.monotonic()
    with console.status(what):
        yield
    console.print(f"  [green]✓[/] {what} [dim]{time.monotonic() - started:.1f} s[/]")


if __name__ == "__main__":
    sys.exit(main())
