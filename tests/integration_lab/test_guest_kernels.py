import subprocess
import threading
from pathlib import Path

import pytest

from integration.errors import LabError
from integration.guest import cache
from integration.guest.initramfs import Directory, File, archive
from integration.guest.stock_kernel import StockKernel
from integration.guest.uml_kernel import CONFIG, RECIPE, SUITE, provide


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kbwg"


def test_an_entry_is_made_once_for_all_who_ask_at_the_same_time() -> None:
    made = []

    def make(directory: Path) -> None:
        made.append(directory)
        (directory / "file").write_text("whole")

    threads = [threading.Thread(target=cache.entry, args=("name-1", make)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert (cache.entry("name-1", make) / "file").read_text() == "whole"


def test_what_fails_leaves_no_entry(own_cache: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").write_text("")
        raise LabError("no mirror")

    for _ in range(2):
        with pytest.raises(LabError, match="no mirror"):
            cache.entry("name-1", fail)
    assert [path.name for path in own_cache.iterdir()] == ["name-1.lock"]


def test_an_initial_file_system_has_its_files_and_directories() -> None:
    data = archive([Directory("bin"), File("bin/odd", b"12345"), File("init", b"#!/bin/odd")])
    # As linux/Documentation/driver-api/early-userspace/buffer-format.rst has it.
    found, at = {}, 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, length = fields[1], fields[6], fields[11]
        name = data[at + 110 : at + 110 + length - 1].decode()
        content = -(-(at + 110 + length) // 4) * 4
        if name == "TRAILER!!!":
            break
        found[name] = (oct(mode), data[content : content + size])
        at = -(-(content + size) // 4) * 4
    assert found == {
        "bin": ("0o40755", b""),
        "bin/odd": ("0o100755", b"12345"),
        "init": ("0o100755", b"#!/bin/odd"),
    }


@pytest.fixture
def kernel(tmp_path: Path) -> StockKernel:
    modules = tmp_path / "lib" / "modules" / "6.1.0-cloud"
    modules.mkdir(parents=True)
    (modules / "modules.builtin").write_text("kernel/drivers/virtio/virtio_pci.ko\n")
    (modules / "modules.dep").write_text(
        "kernel/fs/fuse/fuse.ko.xz:\n"
        "kernel/fs/fuse/virtiofs.ko.xz: kernel/fs/fuse/fuse.ko.xz\n"
        "kernel/fs/overlay-fs.ko.xz: kernel/a.ko kernel/b.ko\n"
    )
    return StockKernel(tmp_path)


def test_modules_load_after_what_they_need_and_only_once(kernel: StockKernel) -> None:
    order = kernel.load_order(["virtio_pci", "overlay_fs", "virtiofs", "fuse"])
    assert [path.name for path in order] == [
        "b.ko",
        "a.ko",
        "overlay-fs.ko.xz",
        "fuse.ko.xz",
        "virtiofs.ko.xz",
    ]
    assert kernel.release == "6.1.0-cloud"


def test_a_module_that_is_not_there_is_named(kernel: StockKernel) -> None:
    with pytest.raises(LabError, match="no module wireguard"):
        kernel.load_order(["wireguard"])


def test_the_recipe_is_a_script_and_the_configuration_has_what_the_product_takes() -> None:
    subprocess.run(["bash", "-n", RECIPE], check=True)
    options = CONFIG.read_text().split()
    for needed in ("WIREGUARD", "NF_TABLES_INET", "NFT_FIB_INET", "NET_SCH_NETEM", "PROC_CHILDREN"):
        assert f"CONFIG_{needed}=y" in options


APT = """#!/bin/sh
echo "${0##*/} $*" >>"$APT_LOG"
case "$*" in
    *"${APT_LACKS:-nothing}"*) echo 'E: no such suite' >&2; exit 100 ;;
    indextargets*) echo http://deb.debian.org/debian/ ;;
    *policy\\ linux-source) echo '  Candidate: 7.3-1' ;;
    *policy\\ linux-source-7.3) echo '  Candidate: 7.3.4-1' ;;
    *depends\\ linux-source) echo '  Depends: linux-source-7.3' ;;
    *download*) echo 'E: the mirror is away' >&2; exit 100 ;;
esac
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt of our own; gives the file that lists how it was called."""
    programs, log = tmp_path / "bin", tmp_path / "apt.log"
    programs.mkdir()
    for name in ("apt-get", "apt-cache"):
        (programs / name).write_text(APT)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("APT_LOG", str(log))
    return log


def test_a_kernel_is_built_from_what_the_mirror_has_now_and_an_error_names_it(
    apt: Path, own_cache: Path
) -> None:
    with pytest.raises(LabError, match=r"fetching linux-source-7\.3: E: the mirror is away"):
        provide(lambda _: None)
    called = apt.read_text().splitlines()
    assert [line.split()[-1] for line in called if "apt-get -q" in line] == [
        "update",
        "linux-source-7.3",
    ]
    sources = (own_cache / f"apt-{SUITE}" / "sources.list").read_text()
    assert f" http://deb.debian.org/debian/ {SUITE} main\n" in sources
    assert all(str(own_cache) in line for line in called if "indextargets" not in line), (
        "the host's own lists are neither read nor written"
    )


def test_where_the_mirror_has_no_backports_the_hosts_own_source_is_taken(
    apt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APT_LACKS", f"apt-{SUITE}")
    said: list[str] = []

    with pytest.raises(LabError, match=r"fetching linux-source-7\.3: E: the mirror is away"):
        provide(said.append)

    assert said[0].startswith(f"no kernel of {SUITE}")
    assert "E: no such suite" in said[0]
    assert f"apt-{SUITE}" not in apt.read_text().splitlines()[-1]


def test_a_kernel_that_is_there_is_found_without_the_mirror(apt: Path, own_cache: Path) -> None:
    said: list[str] = []
    with pytest.raises(LabError):
        provide(said.append)
    name = said[0].split()[1]
    assert name.startswith("uml-7.3.4-1-")
    (own_cache / name).mkdir()
    apt.write_text("")

    assert provide(lambda _: None) == own_cache / name / "linux"

    called = apt.read_text()
    assert "update" not in called
    assert "download" not in called
