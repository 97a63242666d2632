import pytest

from sidecar.errors import LoginError
from sidecar.supervisor.login import (
    LoggedIn,
    Nothing,
    Oneshot,
    Provision,
    Wanted,
    next_step,
    refusal,
)

ALICE = LoggedIn("alice", "laptop")


@pytest.mark.parametrize(
    ("present", "wanted", "step"),
    [
        (None, Wanted("alice", None), Oneshot("alice")),
        (None, Wanted("alice", "laptop"), Provision("alice", "laptop")),
        (ALICE, Wanted("alice", "laptop"), Nothing()),
        (ALICE, Wanted("alice", None), Nothing()),
        (ALICE, None, Nothing()),
    ],
)
def test_a_login_is_made_once_and_then_left_alone(
    present: LoggedIn | None, wanted: Wanted | None, step: object
) -> None:
    assert next_step(present, wanted) == step


@pytest.mark.parametrize(
    ("present", "wanted", "words"),
    [
        (None, None, "set KBWG_KEYBASE_USERNAME"),
        (ALICE, Wanted("bob", None), "a volume of its own"),
        (ALICE, Wanted("alice", "server"), "a device keeps its name"),
    ],
)
def test_a_login_that_cannot_be_meant_is_refused(
    present: LoggedIn | None, wanted: Wanted | None, words: str
) -> None:
    with pytest.raises(LoginError, match=words):
        next_step(present, wanted)


def test_a_burnt_name_is_said_loudly_and_every_lost_cause_at_all() -> None:
    provision = Provision("alice", "laptop")

    burnt = refusal(provision, "▶ [ERRO keybase main.go:86] 001 device name already in use")
    assert burnt is not None
    assert "'laptop' IS BURNT" in burnt
    assert "mistyped" in (
        refusal(provision, "paper key not found, most likely due to a typo") or ""
    )
    assert "revoked" in (refusal(Oneshot("alice"), "No paper keys available") or "")


@pytest.mark.parametrize(
    "complaint",
    [
        "API network error: dial tcp: lookup api-0.core.keybaseapi.com: no such host",
        "You are already logged in as a different user; try logout first",
        "",
    ],
)
def test_everything_else_is_tried_again(complaint: str) -> None:
    assert refusal(Provision("alice", "laptop"), complaint) is None
    assert refusal(Oneshot("alice"), complaint) is None
