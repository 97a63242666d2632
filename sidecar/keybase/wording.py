"""What the CLI says to people, as we pass it on."""

import re
from typing import Final

_PREFIX: Final = re.compile(
    r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ▶ \[[A-Z]+ [^]]*\] [0-9a-f]+ ", re.MULTILINE
)
"""Of a line of its log: time, level, source line, number."""


def plainly(text: str) -> str:
    """Return its words in one line, without what only its developers need."""
    return " ".join(_PREFIX.sub("", text).split())
