from sidecar.supervisor.backoff import FIRST_DELAY, MAX_DELAY, STEADY_AFTER, Backoff


def test_what_keeps_dying_is_started_ever_more_rarely() -> None:
    backoff = Backoff()

    pauses = [backoff.pause_after(0.1) for _ in range(10)]

    assert pauses[:4] == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY, 8 * FIRST_DELAY]
    assert pauses[-1] == MAX_DELAY
    assert pauses == sorted(pauses)


def test_a_long_life_is_forgiven_its_death() -> None:
    backoff = Backoff()
    for _ in range(10):
        backoff.pause_after(0.1)

    assert backoff.pause_after(STEADY_AFTER) == FIRST_DELAY
    assert backoff.pause_after(0.1) == 2 * FIRST_DELAY
