"""What one device asks of others about a single path: a line in the DEV topic `kbwg` (design S5).

    {"v":1,"to":[["bob","<device id>"]],"do":"check"}
    {"v":1,"to":[["bob","<device id>"]],"do":"check","relay":["1 1 udp … typ relay …"]}

"Check now": both ends send at once what opens their NATs, where each by itself would try only every
half minute. "And here is a relay": addresses at which the sender can be reached by a relay at
present, for these peers alone, sooner than the next announcement. Losing such a line costs time and
nothing else; believing a false one costs a few checks, to addresses that a member may name anyway.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from nat.candidate import Candidate, CandidateType, parse_candidate
from nat.errors import CandidateError

from .errors import AnnouncementError
from .identity import DeviceKey

TOPIC: Final = "kbwg"
"""Name of the DEV topic."""

MAX_BYTES: Final = 8192
"""Bytes of the longest line, sent or read."""

MAX_RECIPIENTS: Final = 64
"""Devices that one line asks."""

MAX_RELAYS: Final = 4
"""Relayed addresses that one line names: two servers, two families."""


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """Asks devices to check the paths to the sender now.

    Attributes:
        recipients: who is asked.
        relays: relayed candidates of the sender.
    """

    recipients: tuple[DeviceKey, ...]
    relays: tuple[Candidate, ...] = ()


_Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_Line = Annotated[str, StringConstraints(max_length=200)]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    v: Annotated[int, Field(ge=1, le=1)]
    to: Annotated[tuple[tuple[_Name, _Name], ...], Field(max_length=MAX_RECIPIENTS)]
    do: Literal["check"]
    relay: Annotated[tuple[_Line, ...], Field(max_length=MAX_RELAYS)] = ()


def encode(request: CheckRequest) -> str:
    """Return the line."""
    document: dict[str, object] = {"v": 1, "to": request.recipients, "do": "check"}
    if request.relays:
        document["relay"] = [candidate.to_sdp() for candidate in request.relays[:MAX_RELAYS]]
    return json.dumps(document, separators=(",", ":"))


def decode(text: str) -> CheckRequest:
    """Read a line. Candidates that make no sense, or are no relays, are left out.

    Raises:
        AnnouncementError: not a line of this kind that we understand.
    """
    if len(text) > MAX_BYTES or not text.startswith("{"):
        raise AnnouncementError("no request")
    try:
        document = _Document.model_validate_json(text)
    except (ValidationError, ValueError) as error:
        raise AnnouncementError("no request that we understand") from error
    relays = tuple(c for c in map(_relay, document.relay) if c is not None)
    recipients = tuple((user.lower(), device) for user, device in document.to)
    return CheckRequest(recipients, relays)


def _relay(text: str) -> Candidate | None:
    try:
        candidate = parse_candidate(text)
    except CandidateError:
        return None
    return candidate if candidate.type is CandidateType.RELAYED else None
