"""`python -m bench NAME [--rounds N] [--only PART-OF-A-TITLE]`."""

import argparse
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final

from . import (
    checks,
    direct,
    members,
    paths,
    prediction,
    pump,
    raw_socket,
    relay_throughput,
    upgrade,
)
from .rounds import ROUNDS, Comparison, run, table

Opener = Callable[[], AbstractContextManager[list[Comparison]]]

BENCHMARKS: Final[dict[str, Mapping[str, Opener]]] = {
    "checks": {"checks": checks.comparisons},
    "direct": {"direct": direct.comparisons},
    "members": {"members": members.comparisons},
    "paths": paths.PARTS,
    "prediction": {"prediction": prediction.comparisons},
    "pump": {"pump": pump.comparisons},
    "raw-socket": {"raw-socket": raw_socket.comparisons},
    "relay-throughput": {"relay-throughput": relay_throughput.comparisons},
    "upgrade": {"upgrade": upgrade.comparisons},
}
"""By name the parts, and what opens each; the titles in a part begin with its name."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Print ratios.")
    parser.add_argument("name", choices=BENCHMARKS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", default="", help="part of the title of a comparison")
    arguments = parser.parse_args()
    parts = BENCHMARKS[arguments.name]
    # Labs are brought up for what was asked for only, where that can be told by the part's name.
    named = {part: opener for part, opener in parts.items() if arguments.only in part}
    for opener in (named or parts).values():
        with opener() as comparisons:
            for comparison in comparisons:
                if arguments.only in comparison.title:
                    results = run(comparison, rounds=arguments.rounds)
                    print(table(comparison, results), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
