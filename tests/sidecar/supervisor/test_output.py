import io
import json
from typing import Literal

from sidecar.supervisor.output import REDACTED, Output


def test_every_line_says_which_program_wrote_it() -> None:
    stream = io.StringIO()
    output = Output("text", [], stream)

    output.line("keybase", "service is up")
    output.line("kbfsfuse", "connected")

    assert stream.getvalue() == "keybase  | service is up\nkbfsfuse | connected\n"


def test_for_collectors_each_line_is_one_object() -> None:
    stream = io.StringIO()
    output = Output("json", [], stream)

    output.line("keybase", 'says "hello"')
    output.line("kbwg", '{"level": "info", "message": "started"}')

    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"program": "keybase", "message": 'says "hello"'},
        {"level": "info", "message": "started"},
    ]


def test_a_secret_never_appears() -> None:
    styles: tuple[Literal["text", "json"], ...] = ("text", "json")
    for style in styles:
        stream = io.StringIO()
        Output(style, ["wine crazy tiger"], stream).line("keybase", "bad phrase: wine crazy tiger!")
        assert "crazy" not in stream.getvalue()
        assert REDACTED in stream.getvalue()
