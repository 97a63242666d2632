"""Complaints of the CLI lose their log's prefix and nothing else."""

import pytest

from sidecar.keybase.wording import plainly

PREFIX = "2026-11-25T17:28:50.637061Z ▶ [ERRO keybase main.go:86] 00f "


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"{PREFIX}API network error: refused\n", "API network error: refused"),
        (f"▶ INFO Forking\n{PREFIX}no such team\n", "▶ INFO Forking no such team"),
        (f"it said: {PREFIX}x", f"it said: {PREFIX}x"),
        ("two\n  lines\n", "two lines"),
        ("", ""),
    ],
)
def test_says_it_plainly(said: str, told: str) -> None:
    assert plainly(said) == told
