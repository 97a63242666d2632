"""`python -m bench NAME [--rounds N]`."""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager

from . import checks, direct, pump, raw_socket, relay_throughput, upgrade
from .rounds import ROUNDS, Comparison, run, table

BENCHMARKS: dict[str, Callable[[], AbstractContextManager[list[Comparison]]]] = {
    "checks": checks.comparisons,
    "direct": direct.comparisons,
    "pump": pump.comparisons,
    "raw-socket": raw_socket.comparisons,
    "relay-throughput": relay_throughput.comparisons,
    "upgrade": upgrade.comparisons,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Print ratios.")
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="part of the title of a comparison")
    arguments = parser.parse_args()
    with BENCHMARKS[arguments.name]() as comparisons:
        for comparison in comparisons:
            if arguments.only in comparison.title:
                print(table(comparison, run(comparison, rounds=arguments.rounds)), end="\n\n")


if __name__ == "__main__":
    main()
