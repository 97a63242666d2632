"""Run a topology of `compose/` on this machine: `python -m integration --help`."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from sidecar.status import Status

from . import grid, grid_report, kinds, tables
from .errors import CommandError, LabError
from .guest import GUESTS, rerun
from .kinds import Cell
from .lab import Lab, sweep
from .labs import EXECUTORS, ExecutorName, destroy, names

EPILOG: Final = """\
examples:
  python -m integration up compose/pair.yaml --set NAT_B_MAPPING=none
  python -m integration exec alice -- kbwg status
  python -m integration exec alice -- bash
  python -m integration status
  python -m integration down
  python -m integration grid --cell "MQ:CG(MQ:SY)"
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.executor == "guest":
            whole = sys.argv[1:] if argv is None else argv
            return rerun.in_guest(arguments.guest, arguments.verb, whole)
        if arguments.in_guest is not None:
            rerun.settle_in(arguments.in_guest)
        return _run(arguments)
    except CommandError as error:
        print(error, file=sys.stderr)
        return error.returncode if error.returncode and error.returncode > 0 else 1
    except LabError as error:
        print(f"lab {arguments.lab}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _run(arguments: argparse.Namespace) -> int:
    name: str = arguments.lab
    match arguments.verb:
        case "up":
            _up(name, arguments.file, dict(arguments.set), arguments.executor)
        case "exec":
            _become(Lab.attach(name), arguments.node, arguments.command)
        case "status":
            return _status(Lab.attach(name), as_json=arguments.json)
        case "logs":
            _logs(Lab.attach(name), arguments.node, follow=arguments.follow)
        case "start":
            Lab.attach(name).start(arguments.node)
        case "stop":
            Lab.attach(name).stop(arguments.node)
        case "kill":
            Lab.attach(name).kill(arguments.node)
        case "grid":
            jobs = arguments.jobs or (1 if arguments.in_guest else grid.JOBS)
            code = _grid(arguments.cell, jobs=jobs, relays=not arguments.no_turn)
            if code and arguments.in_guest:
                rerun.leave(_ARTIFACTS)
            return code
        case "list":
            sweep()
            print(*names(), sep="\n")
        case "down":
            destroy(name)
        case _:
            raise AssertionError(arguments.verb)
    return 0


def _up(name: str, file: Path, settings: dict[str, str], executor: ExecutorName) -> None:
    lab = Lab.up(file, settings, name, executor=executor, owned=False)
    option = "" if name == _DEFAULT_LAB else f" --lab {name}"
    print(f"up: {', '.join(lab.topology.services)}")
    print(f"look around: python -m integration{option} exec NODE -- COMMAND | status | logs NODE")
    print(f"end it:      python -m integration{option} down")


def _become(lab: Lab, node: str, command: list[str]) -> None:
    """Turn into the command, so that terminal, signals and status are its own."""
    argv, environment = lab.command(node, command or ["bash"])
    if "TERM" in os.environ:
        environment.setdefault("TERM", os.environ["TERM"])
    os.execvpe(argv[0], argv, environment)


def _status(lab: Lab, *, as_json: bool) -> int:
    statuses = {node: _status_of(lab, node) for node in lab.agents}
    if as_json:
        for node, status in statuses.items():
            if isinstance(status, Status):
                print(
                    json.dumps(
                        {"node": node, "status": status.model_dump(mode="json", by_alias=True)}
                    )
                )
            else:
                print(json.dumps({"node": node, "error": status}))
    else:
        Console().print(tables.mesh(statuses), tables.LEGEND)
    return 0 if all(isinstance(status, Status) for status in statuses.values()) else 1


def _status_of(lab: Lab, node: str) -> Status | str:
    if not lab.running(node):
        return "not running"
    try:
        return lab.status(node)
    except CommandError as error:
        return (error.stderr or str(error)).strip()


def _logs(lab: Lab, node: str, *, follow: bool) -> None:
    if follow:
        path = lab.log_file(node)
        os.execvp("tail", ["tail", "-n", "+1", "-f", str(path)])
    print(lab.logs(node), end="")


def _grid(cells: list[Cell], *, jobs: int, relays: bool) -> int:
    # Wide enough for the table where there is no terminal, as in CI.
    console = Console(width=None if sys.stdout.isatty() else rerun.TABLE_WIDTH)
    chosen = cells or list(kinds.cells())
    sweep()
    began = time.monotonic()
    outcomes = grid.run(
        chosen,
        relays=relays,
        artifacts=_ARTIFACTS,
        jobs=jobs,
        report=lambda outcome: console.print(grid_report.line(outcome)),
    )
    seconds = time.monotonic() - began
    if len(chosen) > 1:
        console.print(grid_report.table(outcomes), grid_report.LEGEND)
    console.print(grid_report.summary(outcomes, seconds))
    return 0 if all(outcome.error is None for outcome in outcomes) else 1


def _cell(text: str) -> Cell:
    try:
        return kinds.parse_cell(text)
    except LabError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


_DEFAULT_LAB: Final = "lab"

_ARTIFACTS: Final = Path("artifacts/grid")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m integration",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--executor",
        choices=[*EXECUTORS, "guest"],
        default="namespaces",
        help="what `up` runs the topology on (default: namespaces); guest: what `grid` runs under",
    )
    parser.add_argument(
        "--guest", choices=GUESTS, default="uml", help="which guest, with --executor guest"
    )
    # A guest's command says it to itself.
    parser.add_argument("--in-guest", choices=GUESTS, default=None, help=argparse.SUPPRESS)
    parser.add_argument(
        "--lab", metavar="NAME", default=_DEFAULT_LAB, help="which lab (default: lab)"
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = verbs.add_parser("up", help="start a topology")
    up.add_argument("file", type=Path, metavar="FILE")
    up.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable of the file; goes before the environment",
    )
    run = verbs.add_parser("exec", help="run a command in a node; a shell without one")
    run.add_argument("node", metavar="NODE")
    run.add_argument("command", nargs="*", metavar="COMMAND")
    status = verbs.add_parser("status", help="show all agents and their peers")
    status.add_argument("--json", action="store_true", help="one object a line for each node")
    logs = verbs.add_parser("logs", help="show what a node has printed")
    logs.add_argument("node", metavar="NODE")
    logs.add_argument("--follow", "-f", action="store_true", help="go on as it prints more")
    for verb, text in (
        ("start", "start a node's main process again"),
        ("stop", "end a node's main process by SIGTERM"),
        ("kill", "end a node's main process by SIGKILL; its tunnel stays"),
    ):
        verbs.add_parser(verb, help=text).add_argument("node", metavar="NODE")
    nats = verbs.add_parser("grid", help="run every pair of kinds of NAT and show the paths")
    nats.add_argument(
        "--cell",
        type=_cell,
        action="append",
        default=[],
        metavar="A:B",
        help=f"only this pair of {', '.join(kinds.KINDS)}; may be given several times",
    )
    nats.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help=f"cells at a time (default: {grid.JOBS}; in a guest, which has one processor, 1)",
    )
    nats.add_argument("--no-turn", action="store_true", help="without a TURN server")
    verbs.add_parser("list", help="list the labs that are up")
    verbs.add_parser("down", help="remove the lab and everything it made")
    return parser


if __name__ == "__main__":
    sys.exit(main())
