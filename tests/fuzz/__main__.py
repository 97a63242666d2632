"""`python -m tests.fuzz --count N --seed S [--only NAME]`."""

import argparse
import logging
import sys
import time

from .run import fuzz, targets


def _tell(number: int) -> None:
    sys.stderr.write(f"{number} …\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="part of the name of a target")
    arguments = parser.parse_args()
    logging.disable()
    wanted = [target for target in targets() if arguments.only in target.name]
    began = time.process_time()
    fed = fuzz(
        arguments.count,
        arguments.seed,
        wanted,
        on_progress=_tell,
    )
    spent = time.process_time() - began
    lines = [f"{name}: {number}" for name, number in fed.items()]
    lines.append(
        f"{fed.total()} inputs, seed {arguments.seed}, nothing escaped; {spent:.0f} s of CPU"
    )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
