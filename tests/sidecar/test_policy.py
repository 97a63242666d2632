"""The matrix of roles, whole."""

import pytest

from sidecar.peers_file import MeshRole
from sidecar.policy import may_talk, role_of

S, C, G = MeshRole.SERVER, MeshRole.CLIENT, MeshRole.GUEST


@pytest.mark.parametrize(
    ("one", "other", "allowed"),
    [
        (S, S, True),
        (S, C, True),
        (S, G, True),
        (C, C, False),
        (C, G, False),
        (G, G, False),
    ],
)
def test_who_talks_to_whom(one: MeshRole, other: MeshRole, allowed: bool) -> None:
    assert may_talk(one, other) is allowed
    assert may_talk(other, one) is allowed


def test_without_a_file_everybody_is_a_server() -> None:
    assert role_of(None, file_exists=False) is S


def test_who_is_not_listed_is_a_guest() -> None:
    assert role_of(None, file_exists=True) is G
    assert role_of(C, file_exists=True) is C
