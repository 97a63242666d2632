"""Go's decoder: whatever comes in, a value or Go's error comes out."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.keybase_simulator import gojson, gostruct
from integration.keybase_simulator.options import CHAT
from integration.keybase_simulator.terminal import format_duration, go_printf, parse_duration
from integration.keybase_simulator.views import cursor_number, read_cursor
from integration.keybase_simulator.world import ServiceError

VALUES = st.recursive(
    st.none() | st.booleans() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab\u00fc\u2028&"), inner),
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert gojson.loads(gojson.dumps(value)) == value


@given(VALUES)
def test_python_reads_what_is_written(value: Any) -> None:
    assert json.loads(gojson.dumps(value)) == value


@given(st.text('{}[]":, \\abtruefalsn0123456789.-eu'))
def test_any_text_is_a_value_or_gos_error(text: str) -> None:
    with suppress(gojson.GoJSONError):
        value, end = gojson.next_value(text)
        assert value is not None or "null" in text
        assert 0 < end <= len(text)


@given(st.text())
def test_what_python_refuses_go_refuses(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        with pytest.raises(gojson.GoJSONError):
            gojson.loads(text)


@given(VALUES, st.integers(0, 200))
def test_the_beginning_of_an_object_asks_for_more(value: Any, cut: int) -> None:
    text = gojson.dumps({"key": value})

    with pytest.raises((gojson.MoreExpected, gojson.EndOfInput)):
        gojson.next_value(text[: min(cut, len(text) - 1)])


@given(st.sampled_from(sorted(CHAT.methods)), VALUES)
def test_any_options_are_decoded_or_refused(method: str, options: Any) -> None:
    struct = CHAT.methods[method].struct
    wanted = dict.fromkeys(struct.fields, options)
    for candidate in (options, wanted):
        with suppress(gojson.GoJSONError):
            decoded = gostruct.decode(struct, gojson.loads(gojson.dumps(candidate)))
            assert set(decoded) == {name.lower() for name in struct.fields}


@given(st.integers(1, 2**63))
def test_a_cursor_holds_its_id(number: int) -> None:
    assert cursor_number(read_cursor(number)) == number


@given(st.text())
def test_any_cursor_is_an_id_or_an_error(text: str) -> None:
    with suppress(ServiceError):
        assert cursor_number(text) >= 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.001, "1ms"), (1, "1s"), (1.5, "1.5s"), (90, "1m30s"), (604_800, "168h0m0s")],
)
def test_durations_are_written_as_in_go(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("100%", "100%!(NOVERB)"),
        ("50%% off", "50% off"),
        ("a%20b", "a%!b(MISSING)"),
        ("%d", "%!d(MISSING)"),
    ],
)
def test_a_format_without_arguments_is_mangled_as_in_go(text: str, printed: str) -> None:
    assert go_printf(text) == printed
