"""Announcements are prompt, bounded and never forgotten."""

import pytest

from sidecar.agent.schedule import (
    BURST,
    DAY,
    DEBOUNCE,
    FIRST_RETRY,
    LAST_RETRY,
    REFILL,
    SUSTAINED_REFILL,
    AnnouncementSchedule,
    most_posts_a_day,
)


def posts(schedule: AnnouncementSchedule, until: float, *, changing: bool = False) -> list[float]:
    """Post whenever due; with `changing`, every post is followed by a change at once."""
    times: list[float] = []
    while (due := schedule.next_timeout()) is not None and due <= until:
        assert schedule.take(due)
        schedule.posted(due)
        times.append(due)
        if changing:
            schedule.changed(due)
    return times


def test_changes_that_come_together_are_one_post() -> None:
    schedule = AnnouncementSchedule(1500.0)
    for moment in (0.0, 0.01, 0.02):
        schedule.changed(moment)

    assert posts(schedule, until=10.0) == [DEBOUNCE]


def test_nothing_new_is_said_again_after_the_interval() -> None:
    schedule = AnnouncementSchedule(1500.0)
    schedule.changed(0.0)

    assert posts(schedule, until=3010.0) == pytest.approx(
        [DEBOUNCE, 1500 + DEBOUNCE, 3000 + DEBOUNCE]
    )


def test_a_host_that_flaps_posts_four_times_a_minute_and_then_once_in_five() -> None:
    schedule = AnnouncementSchedule(1500.0)
    schedule.changed(0.0)

    times = posts(schedule, until=3600.0, changing=True)

    assert times[BURST] - times[0] == pytest.approx(REFILL, abs=0.1)
    assert 20 <= sum(time < 300 for time in times) <= 20 + BURST
    assert times[-1] - times[-2] == pytest.approx(SUSTAINED_REFILL)


def test_a_day_of_nothing_but_changes_is_bounded() -> None:
    schedule = AnnouncementSchedule(1500.0)
    schedule.changed(0.0)

    restless = posts(schedule, until=DAY, changing=True)

    assert 300 < len(restless) <= most_posts_a_day(1500.0) == 366


def test_a_day_of_quiet_is_a_line_each_25_minutes() -> None:
    schedule = AnnouncementSchedule(1500.0)
    schedule.changed(0.0)

    assert len(posts(schedule, until=DAY)) == 58


def test_a_day_of_changes_between_refreshes_is_bounded_too() -> None:
    schedule = AnnouncementSchedule(60.0)
    schedule.changed(0.0)
    times: list[float] = []
    while (due := schedule.next_timeout()) is not None and due <= DAY:
        assert schedule.take(due)
        schedule.posted(due)
        times.append(due)
        schedule.changed(due + 1.0)

    assert DAY / 60.0 < len(times) <= most_posts_a_day(60.0)


def test_posts_that_failed_use_up_nothing() -> None:
    schedule = AnnouncementSchedule(1500.0)
    schedule.changed(0.0)
    for _ in range(100):
        due = schedule.next_timeout()
        assert due is not None
        assert schedule.take(due)
        schedule.failed(due)
    due = schedule.next_timeout()
    assert due is not None
    assert schedule.take(due)
    schedule.posted(due)

    schedule.changed(due + 100.0)

    assert schedule.next_timeout() == due + 100.0 + DEBOUNCE


def test_a_failed_post_is_tried_ever_more_rarely_for_ever() -> None:
    schedule = AnnouncementSchedule(1500.0)
    schedule.changed(0.0)
    pauses = []
    last = DEBOUNCE
    for _ in range(9):
        due = schedule.next_timeout()
        assert due is not None
        assert schedule.take(due)
        pauses.append(due - last)
        last = due
        schedule.failed(due)

    assert pauses[1:] == [FIRST_RETRY, 2, 4, 8, 16, 32, LAST_RETRY, LAST_RETRY]


def test_a_change_during_a_post_is_posted_after_it() -> None:
    schedule = AnnouncementSchedule(1500.0)
    schedule.changed(0.0)
    assert schedule.take(0.05)

    schedule.changed(0.06)
    schedule.posted(0.1)

    assert schedule.next_timeout() == 0.06 + DEBOUNCE


def test_a_change_does_not_wait_for_a_retry() -> None:
    schedule = AnnouncementSchedule(1500.0)
    schedule.changed(0.0)
    assert schedule.take(0.05)
    schedule.failed(0.1)

    schedule.changed(0.2)

    assert schedule.next_timeout() == 0.2 + DEBOUNCE
