"""Connectivity checks that one core answers: the whole machine, and aioice's codec alone.

Ours is `Traversal`: demultiplexing by USERNAME, verification, the pair's state, triggered checks, the
answer. aioice's share is only to parse, verify and encode; a floor for any agent that stands on it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from random import Random
from typing import Final

from aioice import stun

from nat.gathering import HostAddress
from nat.machine import Datagram, Endpoint
from nat.path.credentials import IceCredentials, Role
from nat.path.events import PeerId
from nat.stun.message import MessageClass, check_request, parse
from nat.traversal import Traversal

from .rounds import Comparison, Variant

PEERS: Final = 20
CHECKS: Final = 4_000
INTERVAL: Final = 0.005
"""Virtual seconds from check to check: the pace at which agents send theirs."""

LOCAL: Final = Endpoint(ip_address("198.51.100.1"), 51820)
PRIORITY: Final = 1_862_270_975


def _remote(number: int) -> Endpoint:
    return Endpoint(ip_address(f"203.0.113.{number + 1}"), 51820)


def _credentials(number: int) -> IceCredentials:
    return IceCredentials("here" + str(number), "local" * 5, "there" + str(number), "remote" * 5)


def _checks(rng: Random) -> list[Datagram]:
    checks = []
    for index in range(CHECKS):
        number = index % PEERS
        credentials = _credentials(number)
        payload = check_request(
            rng.randbytes(12),
            username=f"{credentials.local_ufrag}:{credentials.remote_ufrag}",
            password=credentials.local_password,
            priority=PRIORITY,
            controlling=False,
            tie_breaker=0,
        )
        checks.append(Datagram(_remote(number), LOCAL, payload))
    return checks


def our_machine() -> float:
    """Measure checks a second of CPU time; every check must have been answered."""
    rng = Random(1)
    checks = _checks(rng)
    traversal = Traversal(rng=rng, now=0.0)
    traversal.set_host_addresses([HostAddress(LOCAL, "eth0")], 0.0)
    for number in range(PEERS):
        credentials = _credentials(number)
        traversal.add_peer(
            PeerId(str(number)), credentials=credentials, role=Role.CONTROLLING, now=0.0
        )
    sent: list[Datagram] = []
    began = time.process_time()
    for index, check in enumerate(checks):
        now = INTERVAL * (index + 1)
        traversal.receive_datagram(check, now)
        sent += traversal.datagrams_to_send()
        while traversal.next_event() is not None:
            pass
    spent = time.process_time() - began
    answers = sum(parse(d.payload).message_class is MessageClass.SUCCESS for d in sent)
    if answers != CHECKS:
        raise RuntimeError(f"{answers} of {CHECKS} checks were answered")
    return CHECKS / spent


def aioice_codec() -> float:
    """Measure checks a second of CPU time."""
    checks = _checks(Random(1))
    key = _credentials(0).local_password.encode()
    began = time.process_time()
    for check in checks:
        request = stun.parse_message(check.payload)
        if not request.check_message_integrity(key):
            raise RuntimeError("an authentic check was refused")
        response = stun.Message(
            message_method=stun.Method.BINDING,
            message_class=stun.Class.RESPONSE,
            transaction_id=request.transaction_id,
        )
        response.attributes["XOR-MAPPED-ADDRESS"] = (str(check.source.ip), check.source.port)
        response.add_message_integrity(key)
        bytes(response)
    return CHECKS / (time.process_time() - began)


@contextmanager
def comparisons() -> Iterator[list[Comparison]]:
    """Compare the two."""
    yield [
        Comparison(
            title=f"checks: answered for {PEERS} peers",
            unit="a second of CPU",
            baseline="aioice's codec",
            variants=[
                Variant("our machine", our_machine),
                Variant("aioice's codec", aioice_codec),
            ],
        )
    ]
