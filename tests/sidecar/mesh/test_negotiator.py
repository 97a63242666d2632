"""Who is asked when, and which requests are heeded: always bounded."""

from collections import Counter
from itertools import pairwise

import pytest

from sidecar.identity import NodeId
from sidecar.keybase.models import ChatMessage
from sidecar.mesh.negotiator import (
    ASK_AGAIN,
    FIRST_ASK,
    HEED_INTERVAL,
    LINE_INTERVAL,
    MAX_AGE,
    TRIES,
    Negotiator,
    Sought,
)
from sidecar.negotiation import MAX_RECIPIENTS, CheckRequest, encode

ALICE = NodeId("alice", "a" * 32, "laptop")
BOB = NodeId("bob", "b" * 32, "server")
CAROL = NodeId("carol", "c" * 32, "phone")


def play(
    negotiator: Negotiator, sought: list[Sought], until: float, *, since: float = 0.0
) -> list[tuple[float, CheckRequest]]:
    """Look every second; return what is posted when."""
    posted = []
    now = since
    while now <= until:
        negotiator.observe(sought, now)
        if (request := negotiator.request((), now)) is not None:
            posted.append((now, request))
        now += 1.0
    return posted


def test_a_peer_without_a_path_is_asked_ever_more_rarely_and_then_left_alone() -> None:
    posted = play(Negotiator(ALICE), [Sought(BOB, 1)], 24 * 3600.0)

    times = [at for at, _ in posted]
    assert times[0] == FIRST_ASK
    assert [b - a for a, b in pairwise(times)] == [ASK_AGAIN * 2**n for n in range(TRIES - 1)]
    assert all(request.recipients == (("bob", "b" * 32),) for _, request in posted)


def test_a_new_announcement_of_it_is_a_new_chance() -> None:
    negotiator = Negotiator(ALICE)
    assert len(play(negotiator, [Sought(BOB, 1)], 2000.0)) == TRIES

    again = play(negotiator, [Sought(BOB, 2)], 4000.0, since=2001.0)

    assert len(again) == TRIES


def test_who_finds_a_path_in_time_is_not_asked() -> None:
    negotiator = Negotiator(ALICE)

    assert play(negotiator, [Sought(BOB, 1)], FIRST_ASK - 1) == []
    assert play(negotiator, [], 100.0, since=FIRST_ASK) == []


def test_all_that_are_due_share_a_line_and_lines_are_rare() -> None:
    crowd = [Sought(NodeId(f"user{n}", f"{n:032x}", "host"), 1) for n in range(500)]

    posted = play(Negotiator(ALICE), crowd, 3600.0)

    asked = Counter(recipient for _, request in posted for recipient in request.recipients)
    assert max(len(request.recipients) for _, request in posted) == MAX_RECIPIENTS
    assert set(asked.values()) == {TRIES}
    assert len(asked) == 500
    times = [at for at, _ in posted]
    assert min(b - a for a, b in pairwise(times)) >= LINE_INTERVAL
    # What it costs a team: 500 members asleep are 32 lines, once.
    assert len(posted) <= 500 * TRIES / MAX_RECIPIENTS + TRIES


def message(request: CheckRequest, sender: NodeId | None = BOB, id_: int = 1) -> ChatMessage:
    return ChatMessage(id_, sender, 1_780_000_000.0, encode(request))


FOR_US = CheckRequest(((ALICE.username, ALICE.device_id), (CAROL.username, CAROL.device_id)))


def test_a_request_to_us_is_heeded_and_one_to_others_is_not() -> None:
    negotiator = Negotiator(ALICE)

    assert negotiator.heed(message(FOR_US), age=1.0, now=0.0) == FOR_US
    others = CheckRequest(((CAROL.username, CAROL.device_id),))
    assert negotiator.heed(message(others, CAROL), age=1.0, now=0.0) is None


def test_our_own_request_comes_back_to_us_when_the_others_hear_it() -> None:
    ours = CheckRequest(((BOB.username, BOB.device_id),))

    assert Negotiator(ALICE).heed(message(ours, ALICE), age=1.0, now=0.0) == ours


@pytest.mark.parametrize(
    "spoilt",
    [
        ChatMessage(1, None, 0.0, encode(FOR_US)),
        ChatMessage(1, BOB, 0.0, encode(FOR_US), revoked_device=True),
        ChatMessage(1, BOB, 0.0, None),
        ChatMessage(1, BOB, 0.0, "hello"),
    ],
)
def test_what_nobody_attests_or_says_is_not_heeded(spoilt: ChatMessage) -> None:
    assert Negotiator(ALICE).heed(spoilt, age=1.0, now=0.0) is None


def test_an_old_request_is_not_heeded() -> None:
    assert Negotiator(ALICE).heed(message(FOR_US), age=MAX_AGE + 1, now=0.0) is None


def test_a_flood_of_requests_is_one_every_ten_seconds_and_hinders_nobody_else() -> None:
    negotiator = Negotiator(ALICE)

    heeded = sum(
        negotiator.heed(message(FOR_US, id_=n), age=0.0, now=n / 100) is not None
        for n in range(6000)
    )

    assert heeded == 60 / HEED_INTERVAL
    assert negotiator.counters["too-many"] == 6000 - heeded
    assert negotiator.heed(message(FOR_US, CAROL), age=0.0, now=30.0) == FOR_US
