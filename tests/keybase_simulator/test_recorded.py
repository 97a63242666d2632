"""Answers of the real binary (6.3.0, logged out, no network), replayed on the simulator."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .support import Simulator

RECORDED = [
    json.loads(line) for line in Path(__file__).with_name("recorded.jsonl").read_text().splitlines()
]


@pytest.fixture(scope="module")
def logged_out(shared: Simulator) -> Simulator:
    shared.admin.set("alice/laptop", "logged_in", False)
    return shared


def normal(text: str) -> str:
    return re.sub(
        r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ▶ \[ERRO keybase main\.go:\d+\] \d+ ",
        "<ERRO> ",
        text,
        flags=re.MULTILINE,
    )


def test_holds_all_recorded_invocations() -> None:
    assert len(RECORDED) == 42


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: " ".join(case["argv"])[:60])
def test_answers_like_the_real_binary(case: dict[str, Any], logged_out: Simulator) -> None:
    done = logged_out.alice.run(*case["argv"], stdin=case.get("stdin", ""))

    out = "(usage text)" if done.out.startswith("NAME:") else done.out
    assert (done.code, out, normal(done.err)) == (case["rc"], case["out"], case["err"])
