from dataclasses import replace

import pytest

from sidecar.capabilities import Capability
from sidecar.host import HostState
from sidecar.preflight import Finding, findings

ALL = frozenset(Capability)


def host(
    *,
    uid: int = 0,
    effective: frozenset[Capability] = ALL,
    bounding: frozenset[Capability] = ALL,
) -> HostState:
    return HostState(
        uid=uid,
        gid=uid,
        effective=effective,
        bounding=bounding,
        no_new_privileges=False,
        tun=True,
        kernel_wireguard=True,
        rp_filter={"eth0": 2},
        src_valid_mark=True,
    )


def found(state: HostState, backend: str = "auto", mark: int = 1) -> list[Finding]:
    return list(findings(state, backend=backend, mark=mark))  # type: ignore[arg-type]


def test_a_host_with_everything_is_not_complained_of() -> None:
    assert found(host()) == []
    assert found(host(uid=1000, effective=frozenset())) == []


def test_without_net_admin_nothing_can_work() -> None:
    (finding,) = found(host(bounding=ALL - {Capability.NET_ADMIN}))
    assert finding.fatal
    assert "--cap-add NET_ADMIN" in finding.text


def test_without_net_raw_another_way_is_taken() -> None:
    (finding,) = found(host(bounding=ALL - {Capability.NET_RAW}))
    assert not finding.fatal
    assert "--cap-add NET_RAW" in finding.text


def test_no_new_privileges_and_an_unprivileged_user_exclude_each_other() -> None:
    (finding,) = found(replace(host(uid=1000, effective=frozenset()), no_new_privileges=True))
    assert finding.fatal
    assert "no-new-privileges" in finding.text
    assert found(replace(host(uid=0), no_new_privileges=True)) == []


@pytest.mark.parametrize(("backend", "fatal"), [("auto", False), ("userspace", True)])
def test_without_module_and_device_both_are_named(backend: str, fatal: bool) -> None:
    (finding,) = found(replace(host(), tun=False, kernel_wireguard=False), backend)
    assert finding.fatal is fatal
    assert "modprobe wireguard" in finding.text
    assert "--device /dev/net/tun" in finding.text


def test_a_strict_reverse_path_filter_matters_only_to_marked_packets() -> None:
    strict = replace(host(), rp_filter={"eth0": 1, "eth1": 2}, src_valid_mark=False)
    (finding,) = found(strict)
    assert not finding.fatal
    assert "strict on eth0 and" in finding.text
    assert "net.ipv4.conf.all.src_valid_mark=1" in finding.text
    assert found(strict, mark=0) == []
    assert found(replace(strict, src_valid_mark=True)) == []
