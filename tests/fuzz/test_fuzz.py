"""A slice of the million (`python -m tests.fuzz`)."""

import pytest

from sidecar.directory.voids import Voids

from .decoders import Target
from .run import FuzzFailure, fuzz, targets

SLICE = 20_000
"""Inputs: some seconds."""


@pytest.mark.parametrize("seed", [1, 2])
def test_no_exception_escapes_and_nothing_changes_without_authority(seed: int) -> None:
    fed = fuzz(SLICE, seed)

    assert fed.total() == SLICE
    assert set(fed) == {target.name for target in targets()}


def test_a_decoder_that_stumbles_is_found_and_the_same_seed_finds_it_again() -> None:
    def stumble(data: bytes) -> None:
        if len(data) > 3 and data[3] == 0xFF:
            raise IndexError("out of range")

    target = Target("stumbling", [bytes(8)], lambda _: stumble)

    messages = set()
    for _ in range(2):
        with pytest.raises(FuzzFailure, match="stumbling: IndexError") as caught:
            fuzz(10_000, 5, [target])
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_a_directory_that_asks_for_no_authority_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Voids, "deleted_by", lambda self, id_, *_: 1 if id_ in self._deleted else None
    )
    (target,) = [target for target in targets() if target.name == "directory"]

    with pytest.raises(FuzzFailure, match="what bob says was changed by another"):
        fuzz(10_000, 1, [target])
