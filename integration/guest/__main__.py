"""Look after guests by hand: `python -m integration.guest --help`."""

import argparse
import sys
from collections.abc import Sequence

from ..errors import LabError
from . import GUESTS, GuestName, stock_kernel, uml_kernel
from .job import Job
from .kinds import guest
from .terminal import say, show

RUN_SECONDS = 600.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.verb == "provide":
            _provide(arguments.guest)
            return 0
        job = Job(argv=arguments.command, seconds=arguments.seconds)
        return guest(arguments.guest, say).run(job, show, show)
    except LabError as error:
        say(str(error))
        return 1


def _provide(name: GuestName) -> None:
    match name:
        case "qemu":
            print(stock_kernel.provide(say).image)
        case "uml":
            print(uml_kernel.provide(say))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m integration.guest", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    provide = verbs.add_parser("provide", help="fetch or build the kernel, if it is not there")
    run = verbs.add_parser("run", help="run a command under it")
    for verb in (provide, run):
        verb.add_argument("guest", choices=GUESTS)
    run.add_argument("--seconds", type=float, default=RUN_SECONDS, help="time limit")
    run.add_argument("command", nargs="+", metavar="COMMAND")
    return parser


if __name__ == "__main__":
    sys.exit(main())
