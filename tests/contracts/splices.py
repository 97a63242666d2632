"""What splices do to real datagrams, as root: `unshare --net python -m tests.contracts.splices`.

Makes rules and sockets, so run it in a network namespace of its own, with its loopback up.
"""

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from nat.machine import Endpoint
from nat.prediction.splice import Splice
from sidecar import nft
from sidecar.errors import NftError
from sidecar.splice_table import SpliceTable, remove_splices, table_name

INTERFACE = "kbwg0.5-a"
ANOTHER = "kbwg1"
"""Interface of another team on this host."""

OURS, FAR = "127.0.0.1", "127.0.0.2"
SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Scene:
    """WireGuard's socket, the one that has won, two of the far side, and a table."""

    wireguard: socket.socket
    won: socket.socket
    far: socket.socket
    other: socket.socket
    table: SpliceTable

    @property
    def splice(self) -> Splice:
        return Splice(endpoint(self.wireguard), endpoint(self.won).port, endpoint(self.far))


def endpoint(sock: socket.socket) -> Endpoint:
    ip, port = sock.getsockname()
    return Endpoint(IPv4Address(ip), port)


def bound(ip: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((ip, 0))
    sock.settimeout(SECONDS)
    return sock


@contextmanager
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        wireguard, won, far, other = (
            stack.enter_context(bound(ip)) for ip in [OURS] * 2 + [FAR] * 2
        )
        table = SpliceTable(INTERFACE, endpoint(wireguard).port)
        stack.callback(remove_splices, INTERFACE)
        yield Scene(wireguard, won, far, other, table)


def source_seen(sender: socket.socket, receiver: socket.socket) -> int:
    """Send to where `receiver` is; return the source port that it sees."""
    sender.sendto(b"out", receiver.getsockname())
    _, address = receiver.recvfrom(64)
    return int(address[1])


def spliced(at: Scene) -> bool:
    """Whether both directions travel under the won port."""
    if source_seen(at.wireguard, at.far) != at.splice.port:
        return False
    at.far.sendto(b"in", (OURS, at.splice.port))
    payload, source = at.wireguard.recvfrom(64)
    return (payload, source) == (b"in", at.far.getsockname())


def there_is_a_table() -> bool:
    try:
        nft.query(f"list table {table_name(INTERFACE)}")
    except NftError:
        return False
    return True


def both_directions_travel_under_the_won_port(at: Scene) -> None:
    at.table.add(at.splice)
    assert spliced(at)


def all_other_traffic_is_left_alone(at: Scene) -> None:
    at.table.add(at.splice)
    assert source_seen(at.wireguard, at.other) == at.splice.base.port
    assert source_seen(at.won, at.other) == at.splice.port
    at.other.sendto(b"in", (OURS, at.splice.port))
    assert at.won.recvfrom(64)[0] == b"in", "a stranger's datagram is not WireGuard's"


def a_stateful_firewall_lets_the_answers_in(at: Scene) -> None:
    nft.run(
        "table ip host {\n chain input { type filter hook input priority filter; policy drop;\n"
        f" ip daddr {FAR} accept\n ct state established accept\n }}\n}}"
    )
    try:
        source_seen(at.won, at.far)  # an opener
        at.table.add(at.splice)
        assert spliced(at)
    finally:
        nft.run("delete table ip host")


def a_later_port_takes_the_place_of_the_former(at: Scene) -> None:
    former = Splice(at.splice.base, 9, at.splice.remote)
    at.table.add(former)
    at.table.add(at.splice)
    assert spliced(at)
    assert SpliceTable(INTERFACE, at.splice.base.port).load() == (at.splice,)


def removing_one_leaves_the_others_and_the_last_takes_the_table(at: Scene) -> None:
    another = Splice(at.splice.base, 9, endpoint(at.other))
    at.table.add(another)
    at.table.add(at.splice)
    at.table.remove(another)
    assert spliced(at)
    assert source_seen(at.wireguard, at.other) == at.splice.base.port
    at.table.remove(another)
    at.table.remove(at.splice)
    assert not there_is_a_table()


def another_teams_splices_to_the_same_far_side_are_its_own(at: Scene) -> None:
    with bound(OURS) as wireguard, bound(OURS) as won:
        theirs = Splice(endpoint(wireguard), endpoint(won).port, endpoint(at.far))
        second = SpliceTable(ANOTHER, theirs.base.port)
        try:
            at.table.add(at.splice)
            second.add(theirs)
            assert spliced(at)
            assert source_seen(wireguard, at.far) == theirs.port
            at.table.remove(at.splice)
            assert source_seen(wireguard, at.far) == theirs.port
            at.table.add(at.splice)
        finally:
            remove_splices(ANOTHER)
        assert spliced(at)
        assert source_seen(wireguard, at.far) == theirs.base.port


def the_next_agent_takes_them_over_for_its_own_port(at: Scene) -> None:
    at.table.add(at.splice)
    with bound(OURS) as moved:
        successor = SpliceTable(INTERFACE, endpoint(moved).port)
        assert successor.load() == (Splice(endpoint(moved), at.splice.port, at.splice.remote),)
        assert source_seen(moved, at.far) == at.splice.port
        assert source_seen(at.wireguard, at.far) == at.splice.base.port


def flushed_rules_are_put_back(at: Scene) -> None:
    assert not at.table.mend()
    at.table.add(at.splice)
    assert not at.table.mend()
    nft.run("flush ruleset")
    assert source_seen(at.wireguard, at.far) == at.splice.base.port
    assert at.table.mend()
    assert spliced(at)


def a_check_leaves_nothing_and_disturbs_nothing(at: Scene) -> None:
    at.table.check()
    assert nft.query("list tables")[1:] == []
    at.table.add(at.splice)
    at.table.check()
    assert spliced(at)


def nothing_is_there_is_no_error(at: Scene) -> None:
    at.table.clear()
    at.table.remove(at.splice)
    remove_splices(INTERFACE)
    assert at.table.load() == ()


def what_makes_no_sense_is_an_error(at: Scene) -> None:
    for wrong in ("nonsense", "delete table ip nowhere", "add rule ip nowhere x accept"):
        try:
            nft.run(wrong)
        except NftError as error:
            said = str(error)
        else:
            raise AssertionError(f"{wrong} was accepted")
        assert said


CASES: tuple[Callable[[Scene], None], ...] = (
    both_directions_travel_under_the_won_port,
    all_other_traffic_is_left_alone,
    a_stateful_firewall_lets_the_answers_in,
    a_later_port_takes_the_place_of_the_former,
    removing_one_leaves_the_others_and_the_last_takes_the_table,
    another_teams_splices_to_the_same_far_side_are_its_own,
    the_next_agent_takes_them_over_for_its_own_port,
    flushed_rules_are_put_back,
    a_check_leaves_nothing_and_disturbs_nothing,
    nothing_is_there_is_no_error,
    what_makes_no_sense_is_an_error,
)


def main() -> None:
    """Run every case."""
    for case in CASES:
        with scene() as at:
            case(at)
        sys.stdout.write(f"ok {case.__name__}\n")


if __name__ == "__main__":
    main()
