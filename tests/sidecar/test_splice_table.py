"""The table of splices where the kernel refuses; that rules do what they say is a contract's matter."""

from ipaddress import IPv4Address

import pytest

from nat.machine import Endpoint
from nat.prediction.splice import Splice
from sidecar import nft
from sidecar.errors import NftError
from sidecar.splice_table import SpliceTable

BASE = Endpoint(IPv4Address("192.0.2.10"), 51820)
REMOTE = Endpoint(IPv4Address("198.51.100.2"), 42000)
ONE, OTHER = Splice(BASE, 40001, REMOTE), Splice(BASE, 40002, Endpoint(REMOTE.ip, 42001))


class Kernel:
    """Takes commands, or refuses; shows as many elements as it was given splices."""

    def __init__(self) -> None:
        self.refuses = False
        self.rules = ""

    def run(self, commands: str) -> None:
        if self.refuses:
            raise NftError("no memory")
        self.rules = commands

    def query(self, _: str) -> list[dict[str, object]]:
        ports = [str(s.port) for s in (ONE, OTHER) if f": {s.port}" in self.rules]
        return [{"map": {"elem": ports}}]


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(nft, "run", kernel.run)
    monkeypatch.setattr(nft, "query", kernel.query)
    return kernel


@pytest.mark.parametrize("left", [(), (OTHER,)], ids=["the last", "one of two"])
def test_a_splice_that_could_not_be_removed_is_removed_when_the_kernel_agrees(
    kernel: Kernel, left: tuple[Splice, ...]
) -> None:
    table = SpliceTable("kbwg0", BASE.port)
    for splice in (ONE, *left):
        table.add(splice)
    kernel.refuses = True
    with pytest.raises(NftError):
        table.remove(ONE)
    with pytest.raises(NftError):
        table.mend()
    kernel.refuses = False

    assert not table.mend(), "nobody has flushed anything"

    assert f": {ONE.port}" not in kernel.rules
    assert all(f": {splice.port}" in kernel.rules for splice in left)
    kernel.rules = "nothing is made again"
    assert table.mend() == bool(left)


def test_a_splice_that_is_refused_is_not_put_back_later(kernel: Kernel) -> None:
    table = SpliceTable("kbwg0", BASE.port)
    kernel.refuses = True
    with pytest.raises(NftError):
        table.add(ONE)
    kernel.refuses = False

    assert not table.mend()
    assert kernel.rules == ""
