"""`python -m bench NAME [--rounds N]`."""

import argparse
from collections.abc import Callable

from . import pump
from .rounds import ROUNDS, Comparison, run, table

BENCHMARKS: dict[str, Callable[[], list[Comparison]]] = {
    "pump": pump.comparisons,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Print ratios.")
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="part of the title of a comparison")
    arguments = parser.parse_args()
    for comparison in BENCHMARKS[arguments.name]():
        if arguments.only in comparison.title:
            print(table(comparison, run(comparison, rounds=arguments.rounds)), end="\n\n")


if __name__ == "__main__":
    main()
