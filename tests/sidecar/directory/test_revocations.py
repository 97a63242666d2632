"""A revoked device is gone, however that becomes known."""

from dataclasses import replace

from sidecar.directory.revocations import LONGEST_CACHE

from .support import BOB, BOB_KEY, NOW, announced, directory, line


def test_a_revoked_device_is_gone_with_all_it_said() -> None:
    subject = directory(line(1), replace(line(2), revoked_device=True))

    assert announced(subject.view()) == {}


def test_a_device_that_its_user_no_longer_has_is_gone() -> None:
    subject = directory(line(1))
    subject.handle_devices("bob", frozenset({BOB.device_id}), NOW)
    assert announced(subject.view()) == {"bob/server": BOB_KEY}

    subject.handle_devices("bob", frozenset({"f" * 32}), NOW + 40)

    assert announced(subject.view()) == {}
    assert list(subject.messages()) == [], "nor does the cache bring it back"


def test_a_new_device_may_be_unknown_for_as_long_as_keybase_caches_users() -> None:
    subject = directory(line(1))

    subject.handle_devices("bob", frozenset({"f" * 32}), NOW + LONGEST_CACHE)
    assert announced(subject.view()) == {"bob/server": BOB_KEY}

    subject.handle_devices("bob", frozenset({"f" * 32}), NOW + LONGEST_CACHE + 1)
    assert announced(subject.view()) == {}


def test_no_devices_at_all_is_no_answer() -> None:
    subject = directory(line(1))
    subject.handle_devices("bob", frozenset({BOB.device_id}), NOW)

    subject.handle_devices("bob", frozenset(), NOW + 10_000)

    assert announced(subject.view()) == {"bob/server": BOB_KEY}


def test_another_users_devices_say_nothing() -> None:
    subject = directory(line(1))

    subject.handle_devices("carol", frozenset({"f" * 32}), NOW + 10_000)

    assert announced(subject.view()) == {"bob/server": BOB_KEY}
