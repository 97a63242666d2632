"""A log line carries its fields and cannot be forged by them."""

import json
import logging

from hypothesis import given
from hypothesis import strategies as st

from sidecar.logs import JsonFormatter, TextFormatter


def record(**fields: object) -> logging.LogRecord:
    return logging.getLogger("sidecar.test").makeRecord(
        "sidecar.test", logging.INFO, "file", 1, "path selected", (), None, extra=fields
    )


def test_a_text_line_holds_message_and_fields() -> None:
    line = TextFormatter().format(record(peer="bob/server", rtt_ms=12.5))

    assert line.endswith("INFO    sidecar.test path selected peer=bob/server rtt_ms=12.5")


@given(st.text())
def test_a_field_never_breaks_the_line(value: str) -> None:
    line = TextFormatter().format(record(device=value))

    assert len(line.splitlines()) == 1


@given(st.text())
def test_a_json_line_gives_the_field_back(value: str) -> None:
    assert json.loads(JsonFormatter().format(record(device=value)))["device"] == value
