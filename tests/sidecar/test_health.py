"""Health shows what lasts, gravest first, and forgets what has mended."""

from datetime import UTC, datetime, timedelta

from sidecar.health import Condition, Health

START = datetime(2026, 1, 1, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_a_condition_is_shown_once_it_has_lasted() -> None:
    health = Health()
    health.set(Condition.STUN_UNREACHABLE, "a:3478 does not answer", now=START)

    assert health.entries(after(9.9)) == ()
    (entry,) = health.entries(after(10.0))
    assert (entry.code, entry.since) == ("stun-unreachable", START)


def test_a_changed_text_keeps_the_time_of_the_beginning() -> None:
    health = Health()
    health.set(Condition.DUPLICATE_DEVICE, "one", now=START)
    health.set(Condition.DUPLICATE_DEVICE, "two", now=after(5))

    (entry,) = health.entries(after(6))
    assert (entry.text, entry.since) == ("two", START)


def test_a_cleared_condition_begins_anew() -> None:
    health = Health()
    health.set(Condition.STUN_UNREACHABLE, "gone", now=START)
    health.clear(Condition.STUN_UNREACHABLE)
    health.set(Condition.STUN_UNREACHABLE, "gone", now=after(60))

    assert health.entries(after(65)) == ()


def test_errors_come_before_warnings_and_older_ones_first() -> None:
    health = Health()
    health.set(Condition.DUPLICATE_KEY, "warning", now=START)
    health.set(Condition.CHANNEL_EXPLODES, "late error", now=after(2))
    health.set(Condition.ADDRESSES_EXHAUSTED, "early error", now=after(1))

    assert [e.text for e in health.entries(after(3))] == ["early error", "late error", "warning"]


def test_replacing_the_cases_of_a_condition_clears_those_that_are_gone() -> None:
    health = Health()
    health.replace(Condition.PEERS_FILE_ENTRY, [("a", "a is bad"), ("b", "b is bad")], now=START)
    health.set(Condition.DUPLICATE_KEY, "another condition", now=START)
    health.replace(Condition.PEERS_FILE_ENTRY, [("b", "b is bad")], now=after(1))

    assert {e.text for e in health.entries(after(1))} == {"b is bad", "another condition"}


def test_codes_are_unique() -> None:
    codes = [condition.code for condition in Condition]

    assert len(set(codes)) == len(codes)
