"""What the programs print: one line each, with the program's name before it and no secret in it."""

import json
import sys
from collections.abc import Iterable
from typing import Final, Literal, TextIO

REDACTED: Final = "[redacted]"

WIDTH: Final = 8
"""Columns of a name: the longest one, `kbfsfuse`."""


class Output:
    """Writes the lines of all programs to one stream.

    Args:
        style: `json` wraps lines of others into objects and leaves the agent's own as they are.
        secrets: texts that never appear.
        stream: where to; the container's standard output.
    """

    def __init__(
        self, style: Literal["text", "json"], secrets: Iterable[str], stream: TextIO | None = None
    ) -> None:
        self._style = style
        self._secrets = [secret for secret in secrets if secret]
        self._stream = stream or sys.stdout

    def line(self, program: str, text: str) -> None:
        """Write one line that a program has printed."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        if self._style == "text":
            text = f"{program:<{WIDTH}} | {text}"
        elif not text.startswith("{"):
            text = json.dumps({"program": program, "message": text})
        self._stream.write(text + "\n")
        self._stream.flush()
