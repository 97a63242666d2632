"""What an operator is told of the team."""

import pytest

from sidecar.health import Condition
from sidecar.peers_file import MeshRole
from sidecar.team_config import Policy

from .support import BOB, EVE, EVE_KEY, ME, MY_KEY, directory, line, listed


@pytest.mark.parametrize(
    ("bobs_entry", "policy", "told"),
    [
        (MeshRole.GUEST, Policy.ROLES, {"bob"}),
        (None, Policy.ROLES, {"bob"}),
        (MeshRole.CLIENT, Policy.ROLES, set()),
        (MeshRole.GUEST, Policy.MESH, set()),
    ],
)
def test_a_guest_who_may_edit_the_file_is_told_of(
    bobs_entry: MeshRole | None, policy: Policy, told: set[str]
) -> None:
    subject = directory(line(1), line(2, sender=EVE, key=EVE_KEY))  # Eve only reads
    entries = [(ME, "100.64.7.1", MeshRole.SERVER)]
    if bobs_entry is not None:
        entries.append((BOB, "100.64.7.2", bobs_entry))
    subject.handle_peers_file(listed(*entries))
    subject.handle_policy(policy)

    conditions = subject.view().conditions

    assert {who for c, who, _ in conditions if c is Condition.GUESTS_CAN_WRITE} == told


def test_a_second_agent_of_this_device_is_noticed() -> None:
    subject = directory(line(1, sender=ME, key=MY_KEY))
    subject.note_own_post(1)
    assert subject.view().conditions == ()

    subject.handle_messages([line(2, sender=ME, key=EVE_KEY)])

    assert [c for c, _, _ in subject.view().conditions] == [Condition.DUPLICATE_DEVICE]
