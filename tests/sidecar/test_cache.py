"""What is stored makes the same directory again."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sidecar import cache
from sidecar.directory.directory import Directory
from sidecar.keybase.models import ChatMessage

from .directory.support import ME, MESSAGES, MY_KEY, SUBNET, directory, line


@given(MESSAGES)
def test_the_cache_brings_back_the_same_directory(messages: list[ChatMessage]) -> None:
    subject = directory(*messages)
    restored = Directory(own=ME, own_key=MY_KEY, subnet=SUBNET)

    content = b"".join(cache.dump(subject, "acme", peers_file_known=True))

    assert cache.restore(restored, content, "acme", SUBNET)
    # Who was just withdrawn has its half minute only with those that have heard it before.
    assert restored.view() == replace(subject.view(), withdrawn=frozenset())


@given(st.binary(max_size=100))
def test_a_damaged_cache_is_ignored(content: bytes) -> None:
    subject = Directory(own=ME, own_key=MY_KEY, subnet=SUBNET)

    assert not cache.restore(subject, content, "acme", SUBNET)
    assert cache.preferred_address(content) is None


def test_the_cache_of_another_team_is_ignored() -> None:
    content = b"".join(cache.dump(directory(line(1)), "acme", peers_file_known=True))

    assert not cache.restore(directory(), content, "other", SUBNET)
