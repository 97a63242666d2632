"""`kbwg.json` in the team's folder: what the team decides once for all of its hosts.

It lies beside `peers.json`, is written by the team's writers and signed by Keybase like it. Every
field is optional. Two kinds, told apart by each field's text and by `SHARED`:

* *shared*: the whole team must have it alike; a host whose environment differs does not start;
* *default*: what a host has that does not say otherwise in its own environment.

The schema is published in `team_config.schema.json`.
"""

import json
from enum import StrEnum
from ipaddress import IPv4Network
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from .errors import TeamConfigError

FILE: Final = "kbwg.json"
"""Its name in the team's folder."""

MAX_BYTES: Final = 64 * 1024
"""Bytes; a real one has a few hundred."""

SHARED: Final = frozenset({"subnet", "topic"})
"""Fields that are environment variables, too, and must not differ."""

TEAM_ONLY: Final = frozenset({"v", "policy"})
"""Fields that no host can override: they say whom others let in."""


def _only_text(value: object) -> object:
    """Refuse numbers: Python takes 5 for the network 0.0.0.5/32."""
    if isinstance(value, int):
        raise ValueError("a network is written as text: 100.64.7.0/24")  # noqa: TRY004 - pydantic's way
    return value


_Network = Annotated[IPv4Network, BeforeValidator(_only_text)]
_Server = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class Policy(StrEnum):
    """Who may talk to whom (design A3)."""

    ROLES = "roles"
    """By the roles of `peers.json`: servers with everybody, clients and guests with servers."""

    MESH = "mesh"
    """Everybody with everybody."""


class TeamConfig(BaseModel):
    """The file's content. Fields that we do not know are left alone, and told to the operator."""

    model_config = ConfigDict(
        frozen=True, extra="allow", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    v: Annotated[int, Field(ge=1, le=1)] = 1
    """Version of the file's form."""

    subnet: _Network | None = None
    """Shared: the overlay network. With it, hosts need no `KBWG_SUBNET`."""

    topic: Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z_-]{1,20}$")] | None = None
    """Shared: the chat channel of the announcements (`KBWG_TOPIC`)."""

    topic_type: Literal["chat", "dev"] | None = None
    """Default of `KBWG_TOPIC_TYPE`. Hosts that differ hear each other all the same."""

    negotiation: bool | None = None
    """Default of `KBWG_NEGOTIATION`."""

    policy: Policy = Policy.ROLES
    """Team only: who may talk to whom, where a `peers.json` exists."""

    stun_servers: tuple[_Server, ...] | None = Field(default=None, max_length=16)
    """Default of `KBWG_STUN_SERVERS`; an empty list for no server at all."""

    turn_servers: tuple[_Server, ...] | None = Field(default=None, max_length=16)
    """Default of `KBWG_TURN_SERVERS`: URIs of RFC 7065."""

    turn_username: str | None = Field(default=None, max_length=500)
    """Default of `KBWG_TURN_USERNAME`."""

    turn_password: str | None = Field(default=None, max_length=500, repr=False)
    """Default of `KBWG_TURN_PASSWORD`. Whoever may read the team's files may read it."""

    turn_secret: str | None = Field(default=None, max_length=500, repr=False)
    """Default of `KBWG_TURN_SECRET`, for servers with time-limited credentials."""

    mtu: Annotated[int, Field(ge=1280, le=65455)] | None = None
    """Default of `KBWG_MTU`, bytes."""

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of fields that this version does not know."""
        return tuple(sorted(self.model_extra or {}))

    def defaults(self) -> dict[str, object]:
        """Return what it says of environment variables, by the name of the setting."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name in type(self).model_fields
            if name not in TEAM_ONLY and (value := getattr(self, name)) is not None
        }


def parse_team_config(content: bytes) -> TeamConfig:
    """Decode the file.

    Raises:
        TeamConfigError: torn, empty, or not what the schema says; keep the last good copy.
    """
    if len(content) > MAX_BYTES:
        raise TeamConfigError(f"more than {MAX_BYTES} bytes")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise TeamConfigError("not JSON: torn by a write, or edited by hand") from error
    try:
        return TeamConfig.model_validate(document)
    except ValidationError as error:
        raise TeamConfigError(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in detail['loc']) or 'the file'}: {detail['msg']}"
        for detail in error.errors(include_input=False, include_url=False)[:5]
    )
