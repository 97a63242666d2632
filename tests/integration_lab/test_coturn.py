"""Who may use a TURN server of the labs."""

import pytest

from integration.coturn import credentials
from integration.errors import TopologyError

USER = {"TURN_USERNAME": "kbwg", "TURN_PASSWORD": "relay-me"}


def test_a_static_user_is_the_ordinary_case() -> None:
    assert credentials(USER) == ["--lt-cred-mech", "--user=kbwg:relay-me"]


def test_a_secret_replaces_the_static_user() -> None:
    assert credentials({**USER, "TURN_SECRET": "shared"}) == [
        "--use-auth-secret",
        "--static-auth-secret=shared",
    ]


@pytest.mark.parametrize("missing", USER)
def test_a_server_without_credentials_is_refused(missing: str) -> None:
    with pytest.raises(TopologyError, match="TURN_SECRET"):
        credentials({**USER, missing: ""})
