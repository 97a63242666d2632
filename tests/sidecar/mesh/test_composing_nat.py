"""Which news of our NAT is worth a post."""

from dataclasses import replace

import pytest

from nat.candidate import CandidateType, local_candidate
from sidecar.announcement import NatHint
from sidecar.identity import PublicKey
from sidecar.mesh.composing import Composer

from ...support.network import endpoint

BASE = endpoint("192.0.2.1", 20000)
CANDIDATES = (local_candidate(CandidateType.HOST, BASE, BASE),)

EIM = NatHint(mapping="endpoint-independent")
HARD = NatHint(mapping="address-and-port-dependent")


def posted(hint: NatHint | None) -> Composer:
    composer = Composer(PublicKey(bytes(32)))
    composer.compose(CANDIDATES, None, None, hint)
    assert composer.wanted is not None
    composer.posted(replace(composer.wanted, seq=1))
    return composer


@pytest.mark.parametrize(
    ("before", "after", "waits"),
    [
        (None, EIM, True),
        (EIM, NatHint(mapping="endpoint-independent", filtering="address-dependent"), True),
        (None, HARD, False),
        (HARD, EIM, False),
        (HARD, NatHint(mapping="destination-dependent"), True),
    ],
)
def test_only_that_the_mapping_varies_cannot_wait_for_the_next_refresh(
    before: NatHint | None, after: NatHint, waits: bool
) -> None:
    composer = posted(before)
    composer.compose(CANDIDATES, None, None, after)

    assert composer.wanted is not None
    assert composer.wanted.nat == after
    composer.posted(replace(composer.wanted, nat=before))
    assert composer.up_to_date is waits
