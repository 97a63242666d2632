"""One path agent, and a peer that a test plays by hand, message by message."""

import pickle
from collections.abc import Sequence
from random import Random

from nat.candidate import Candidate, CandidateType, local_candidate
from nat.machine import Datagram, Endpoint
from nat.path.agent import PathAgent
from nat.path.credentials import Role
from nat.path.events import PeerId
from nat.stun.message import MessageClass, check_request, parse, success_response

from .network import endpoint
from .peers import credentials_of

BASE = endpoint("192.168.1.2")
MAPPED = endpoint("198.51.100.1", 42000)
PEER_HOST = endpoint("192.168.7.3")
PEER_MAPPED = endpoint("198.51.100.2", 42000)
STRANGER = endpoint("198.51.100.66", 6666)

LOCAL = (
    local_candidate(CandidateType.HOST, BASE, BASE),
    local_candidate(CandidateType.SERVER_REFLEXIVE, MAPPED, BASE),
)
REMOTE = (
    local_candidate(CandidateType.HOST, PEER_HOST, PEER_HOST),
    local_candidate(CandidateType.SERVER_REFLEXIVE, PEER_MAPPED, PEER_MAPPED),
)


class ScriptedPeer:
    """The far side of an agent, with the right credentials unless a test says otherwise."""

    def __init__(
        self,
        role: Role = Role.CONTROLLING,
        *,
        local: Sequence[Candidate] = LOCAL,
        remote: Sequence[Candidate] = REMOTE,
        seed: int = 1,
    ) -> None:
        self.role = role
        self.agent = PathAgent(
            peer=PeerId("b"),
            credentials=credentials_of(role),
            role=role,
            rng=Random(seed),
            now=0.0,
        )
        self._rng = Random(seed + 1)
        self._other = Role.CONTROLLED if role is Role.CONTROLLING else Role.CONTROLLING
        self.agent.set_local_candidates(local, 0.0)
        if remote:
            self.agent.set_remote_candidates(remote, 0.0)

    def take(self, message_class: MessageClass | None = None) -> list[Datagram]:
        """Take what the agent sends, perhaps of one class only."""
        datagrams = self.agent.datagrams_to_send()
        if message_class is None:
            return datagrams
        return [d for d in datagrams if parse(d.payload).message_class is message_class]

    def check(
        self,
        source: Endpoint = PEER_MAPPED,
        base: Endpoint = BASE,
        *,
        username: str | None = None,
        password: str | None = None,
        controlling: bool | None = None,
        tie_breaker: int | None = None,
        use_candidate: bool = False,
        nomination: int | None = None,
        priority: int = 1_862_270_975,
    ) -> Datagram:
        """Make a check of the peer."""
        credentials = credentials_of(self._other)
        payload = check_request(
            self._rng.randbytes(12),
            username=username or f"{credentials.remote_ufrag}:{credentials.local_ufrag}",
            password=password or credentials.remote_password,
            priority=priority,
            controlling=(self._other is Role.CONTROLLING) if controlling is None else controlling,
            tie_breaker=self._other.tie_breaker if tie_breaker is None else tie_breaker,
            use_candidate=use_candidate or nomination is not None,
            nomination=nomination,
        )
        return Datagram(source, base, payload)

    def answer(
        self,
        request: Datagram,
        *,
        mapped: Endpoint = MAPPED,
        password: str | None = None,
        nomination: int | None = None,
        source: Endpoint | None = None,
        base: Endpoint | None = None,
    ) -> Datagram:
        """Make the answer of the peer to a check of the agent."""
        payload = success_response(
            parse(request.payload).transaction_id,
            mapped,
            password=password or credentials_of(self._other).local_password,
            nomination=nomination,
        )
        return Datagram(source or request.destination, base or request.source, payload)

    def checks_of(self, remote: Endpoint) -> list[Datagram]:
        """Take the checks that the agent sends to one address; drop the rest."""
        return [d for d in self.take(MessageClass.REQUEST) if d.destination == remote]

    def validate(self, remote: Endpoint = PEER_MAPPED, now: float = 0.0, rtt: float = 0.0) -> None:
        """Have a check of `remote` made at `now`, and answer it."""
        self.agent.network_changed(now)
        for request in self.checks_of(remote):
            self.agent.receive_datagram(self.answer(request), now + rtt)

    def run(
        self, until: float, *, answering: Sequence[Endpoint] = (), rtt: float = 0.04
    ) -> list[tuple[float, Datagram]]:
        """Wake the agent whenever it wants to; return what it sends.

        Args:
            until: when to stop, in seconds.
            answering: remote addresses whose checks are answered.
            rtt: seconds after which they are.
        """
        sent: list[tuple[float, Datagram]] = []
        answers: list[tuple[float, Datagram]] = []
        while True:
            times = [self.agent.next_timeout(), *(at for at, _ in answers)]
            due = min((at for at in times if at is not None), default=None)
            if due is None or due > until:
                return sent
            for entry in [entry for entry in answers if entry[0] <= due]:
                answers.remove(entry)
                self.agent.receive_datagram(entry[1], due)
            self.agent.handle_timeout(due)
            for datagram in self.agent.datagrams_to_send():
                sent.append((due, datagram))
                if datagram.destination in answering:
                    answers.append((due + rtt, self.answer(datagram)))

    def state(self) -> bytes:
        """The whole state of the agent, down to the last counter but that of what it ignored."""
        self.agent.ignored.clear()
        return pickle.dumps(self.agent)
