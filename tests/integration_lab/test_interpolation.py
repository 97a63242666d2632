"""Variables in compose files."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.errors import TopologyError
from integration.interpolation import interpolate, names_in


@pytest.mark.parametrize(
    ("text", "variables", "expected"),
    [
        ("plain", {}, "plain"),
        ("$$HOME costs $$5", {}, "$HOME costs $5"),
        ("$A-${A}.", {"A": "x"}, "x-x."),
        ("$A_B", {"A_B": "one name"}, "one name"),
        ("${A:-default}", {}, "default"),
        ("${A:-default}", {"A": ""}, "default"),
        ("${A:-default}", {"A": "set"}, "set"),
        ("${A:-}", {}, ""),
        ("${A:-${B:-c}d}e", {}, "cde"),
        ("${A:-${B}}", {"B": "b"}, "b"),
        ("${A:?must be set}", {"A": "x"}, "x"),
        ("${A}", {"A": "${B} $$"}, "${B} $$"),
    ],
)
def test_variables_are_replaced(text: str, variables: dict[str, str], expected: str) -> None:
    assert interpolate(text, variables) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$A", "A is not set and has no default"),
        ("${A}", "A is not set and has no default"),
        ("${A:?say which}", "A must be set: say which"),
        ("${A:-${B}}", "B is not set"),
        ("${A", "only :- and :? may follow A"),
        ("${A:-b", "a brace is never closed"),
        ("${A:+b}", "only :- and :? may follow A"),
        ("${A-b}", "only :- and :? may follow A"),
        ("${}", "no variable name"),
        ("5 $ only", "a lone $"),
        ("$", "a lone $"),
    ],
)
def test_what_cannot_be_replaced_is_named(text: str, message: str) -> None:
    with pytest.raises(TopologyError, match=re.escape(message)):
        interpolate(text, {})


def test_names_are_found_in_defaults_too() -> None:
    assert names_in("$A ${B} ${C:-x${D:-y}} ${E:?$F} $$G") == set("ABCDEF")


@given(st.text(alphabet="ab$${}:-? AZ_"))
def test_any_text_is_replaced_or_refused(text: str) -> None:
    try:
        names = names_in(text)
    except TopologyError:
        with pytest.raises(TopologyError):
            interpolate(text, {})
        return
    assert isinstance(interpolate(text, dict.fromkeys(names, "value")), str)


@given(st.text())
def test_doubled_dollars_keep_any_text(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), {}) == text
