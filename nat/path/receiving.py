"""What comes in from one peer: checks are learned from and answered, answers settle their pairs."""

from collections import Counter
from collections.abc import Callable

from ..machine import Datagram
from ..stun.message import ErrorCode, StunMessage
from .checklist import Checklist
from .checks import Answer, Check, Checks, Ignored, Refusal, Rejection
from .credentials import Role
from .pair import Pair
from .relaying import Relaying
from .schedule import Timetable
from .selection import Selection
from .sending import Sender
from .telling import Teller


class Receiver:
    """Takes in the messages of one peer; part of a `PathAgent`.

    Args:
        role: who nominates.
        checklist: the pairs.
        checks: says what a message is, and encodes answers.
        selection: which pair carries the data.
        relaying: holds answers back until data could take the pair, too.
        timetable: when which pair is checked.
        sender: sends the answers.
        teller: knows whether there is a path.
        step: draws the conclusions from what has come in, and does what is due.
    """

    def __init__(
        self,
        *,
        role: Role,
        checklist: Checklist,
        checks: Checks,
        selection: Selection,
        relaying: Relaying,
        timetable: Timetable,
        sender: Sender,
        teller: Teller,
        step: Callable[[float], None],
    ) -> None:
        self.ignored: Counter[str] = Counter()
        """Datagrams that changed nothing, by reason."""
        self._role = role
        self._checklist = checklist
        self._checks = checks
        self._selection = selection
        self._relaying = relaying
        self._timetable = timetable
        self._sender = sender
        self._teller = teller
        self._step = step

    def receive(self, message: StunMessage, datagram: Datagram, now: float) -> bool:
        """Handle a message. What is not authentic changes nothing and is not answered.

        Returns:
            Whether it proves that the peer is where it came from: only an answer does, since the
            source of a check can be forged by the peer itself.
        """
        match self._checks.judge(message, datagram, now):
            case Ignored() as reason:
                self.ignored[reason.value] += 1
                return False
            case Refusal() as refusal:
                self._sender.respond(datagram, self._checks.refusal(message, refusal))
            case Check() as check:
                if not check.repeated:
                    self._on_check(check, now)
                pair = self._checklist.get(check.key)
                if not self._relaying.hold(pair, check, message, datagram, now):
                    self._answer(check, message, datagram, now)
            case Answer() as answer:
                self._on_answer(answer, now)
                return True
            case Rejection(key):
                if (pair := self._checklist.get(key)) is not None:
                    self._selection.refused(pair, now)
                    self._step(now)
        return False

    def receive_early(self, message: StunMessage, datagram: Datagram, now: float) -> None:
        """Learn from a check that came in before this machine was there; it is not answered."""
        match self._checks.judge(message, datagram, now):
            case Check() as check:
                self._on_check(check, now)
            case Ignored() | Refusal() | Answer() | Rejection():
                pass

    def answer_held(self, now: float) -> None:
        """Answer the checks on relayed pairs that data can take by now."""
        self._relaying.release(
            now, lambda check, message, datagram: self._answer(check, message, datagram, now)
        )

    def _on_check(self, check: Check, now: float) -> None:
        pair = self._checklist.get(check.key)
        if pair is None:
            pair = self._checklist.learn(check.key, check.priority, now)
        if pair is not None:
            self._heard(pair, check, now)
            self._step(now)

    def _heard(self, pair: Pair, check: Check, now: float) -> None:
        pair.heard_at = now
        self._timetable.heard(pair, now)
        if self._role is Role.CONTROLLED:
            self._selection.nominated(pair, check, now)
        if not pair.valid:
            # Once connected, one check is enough; a burst for each would cost an idle peer.
            wanted = self._teller.path is None or pair.key == self._selection.follower.key
            pair.trigger(now, densely=wanted)
        self._selection.life_sign(now)

    def _on_answer(self, answer: Answer, now: float) -> None:
        pair = self._checklist.get(answer.key)
        if pair is not None and answer.probe is not None:
            if pair.mtu is not None:
                pair.mtu.answered(answer.probe, now)
            self._step(now)
        elif pair is not None:
            # Others are rarely checked: a NAT may have forgotten such a mapping and made another.
            if pair.selected and pair.mapped not in (None, answer.mapped):
                self._teller.suspect()
            pair.answered(answer.mapped, answer.rtt, now)
            self._selection.answered(answer.nomination, now)
            self._selection.life_sign(now)
            self._step(now)

    def _answer(self, check: Check, message: StunMessage, datagram: Datagram, now: float) -> None:
        pair = self._checklist.get(check.key)
        if pair is not None and self._selection.refuses(pair, now):
            payload = self._checks.refusal(message, Refusal(ErrorCode.FORBIDDEN))
        else:
            # The peer learns from the answer which nomination is followed from now on.
            followed = self._selection.follower.number
            payload = self._checks.response(message, check.key.remote, followed)
        self._sender.respond(datagram, payload)
