from pathlib import Path

from sidecar.capabilities import Capability, parse_set
from sidecar.host import read_host

STATUS = "Name:\tkbwg\nUid:\t0\t0\t0\t0\nCapEff:\t0000000000001000\nCapBnd:\t00000000a80435fb\nNoNewPrivs:\t1\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def test_what_a_container_gives_is_read_from_proc(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    write(proc / "self" / "status", STATUS)
    conf = proc / "sys/net/ipv4/conf"
    for name, mode in {"all": "0", "eth0": "1", "eth1": "2", "lo": "1", "default": "1"}.items():
        write(conf / name / "rp_filter", mode + "\n")
    write(conf / "all" / "src_valid_mark", "1\n")

    state = read_host(proc, tmp_path / "tun")

    assert state.effective == {Capability.NET_ADMIN}
    assert {Capability.NET_ADMIN, Capability.NET_RAW} & state.bounding == {
        Capability.NET_ADMIN,
        Capability.NET_RAW,
    }
    assert state.no_new_privileges
    assert state.rp_filter == {"eth0": 1, "eth1": 2}
    assert state.src_valid_mark
    assert not state.tun
    assert not state.kernel_wireguard


def test_the_stricter_of_interface_and_all_applies(tmp_path: Path) -> None:
    conf = tmp_path / "proc/sys/net/ipv4/conf"
    write(conf / "all" / "rp_filter", "1")
    write(conf / "eth0" / "rp_filter", "0")

    assert read_host(tmp_path / "proc", tmp_path / "tun").rp_filter == {"eth0": 1}


def test_a_system_that_shows_nothing_has_nothing(tmp_path: Path) -> None:
    state = read_host(tmp_path, tmp_path / "tun")

    assert (state.effective, state.bounding) == (frozenset(), frozenset())
    assert (state.rp_filter, state.src_valid_mark, state.tun) == ({}, False, False)


def test_a_device_file_of_another_kind_is_no_tun(tmp_path: Path) -> None:
    (tmp_path / "tun").touch()
    assert not read_host(tmp_path, tmp_path / "tun").tun


def test_a_set_of_capabilities_is_a_hexadecimal_mask() -> None:
    assert parse_set("0000000000003000") == {Capability.NET_ADMIN, Capability.NET_RAW}
    assert parse_set("0") == frozenset()
