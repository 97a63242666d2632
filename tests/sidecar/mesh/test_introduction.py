"""Who can know us, by the order of the announcements."""

import math

from sidecar.mesh.introduction import READ_AFTER, Introduction


def test_nobody_knows_who_has_not_announced_itself() -> None:
    assert Introduction(known=False).known_from(7) == math.inf


def test_who_announced_before_us_reads_us_after_our_post() -> None:
    introduction = Introduction(known=False)

    introduction.posted(8, 100.0)

    assert introduction.known_from(7) == 100.0 + READ_AFTER


def test_who_announced_after_us_knows_us_already() -> None:
    introduction = Introduction(known=False)

    introduction.posted(8, 100.0)

    assert introduction.known_from(9) == -math.inf


def test_the_first_post_counts_and_later_ones_say_nothing_new() -> None:
    introduction = Introduction(known=False)

    introduction.posted(8, 100.0)
    introduction.posted(12, 200.0)

    assert introduction.known_from(9) == -math.inf
    assert introduction.known_from(7) == 100.0 + READ_AFTER


def test_after_a_restart_the_others_know_us_from_before() -> None:
    assert Introduction(known=True).known_from(7) == -math.inf
