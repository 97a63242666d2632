"""A verb of `python -m integration` in a guest: it runs again in there, and what it leaves comes out."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..errors import LabError
from ..waiting import be_patient
from . import PATIENCE, GuestName
from .job import RECORDS, REPOSITORY, Job
from .kinds import guest
from .records import Decoder, Files, pack, unpack, write
from .terminal import say, show

VERBS: Final = ("grid",)
"""Those that end what they begin; a guest lives as long as its command."""

TABLE_WIDTH: Final = 140

SECONDS: Final = 3600.0

_INSIDE: Final = "--in-guest"


def in_guest(name: GuestName, verb: str, argv: Sequence[str]) -> int:
    """Run a whole command again in a guest; gives its exit status.

    Raises:
        LabError: it is not one for a guest, or the guest dies.
    """
    if verb not in VERBS:
        raise LabError(f"a guest lives as long as its command, which is one of {', '.join(VERBS)}")
    decoder = Decoder()

    def take(data: bytes) -> None:
        for record in decoder.feed(data):
            if isinstance(record, Files):
                unpack(record, REPOSITORY)

    # Before the verb are only options with a value.
    rest = argv[next(at for at, word in enumerate(argv) if word == verb) :]
    job = Job(
        argv=[sys.executable, "-m", "integration", _INSIDE, name, *rest],
        seconds=SECONDS,
        environment={"KBWG_BACKEND": "kernel", "COLUMNS": str(TABLE_WIDTH)},
    )
    return guest(name, say).run(job, show, take)


def settle_in(name: GuestName) -> None:
    """Take the time that all takes in a guest, as whoever runs in it."""
    be_patient(PATIENCE[name])


def leave(directory: Path) -> None:
    """Send a directory below the checkout to the host: here it dies with the guest."""
    if directory.exists():
        write(RECORDS, pack(directory.resolve(), REPOSITORY))
