"""Places in a document."""

import pytest

from integration.document import Node, duration
from integration.errors import TopologyError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("500ms", 0.5),
        ("1m30s", 90),
        ("2h", 7200),
        ("1.5s", 1.5),
        ("1m", 60),
        ("0s", 0),
    ],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "1s1m", "soon", "-1s", "1 s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        duration(text)


def test_an_error_names_the_place() -> None:
    document = Node({"a": {"b": [1, {"c": 2}]}}, "file.yaml")
    (_, b) = next(iter(document.items("a")))
    with pytest.raises(TopologyError, match=r"^file\.yaml: a\.b: must be a mapping$"):
        b.allow("c")
    entry = document.child("a").list("b")[1]
    with pytest.raises(TopologyError, match=r"^file\.yaml: a: b\[1\]: the labs do not underst"):
        entry.allow("d")


def test_keys_for_authors_are_allowed_everywhere() -> None:
    Node({"x-note": 1}, "file.yaml").allow()
