import subprocess
import threading
from pathlib import Path

import pytest

from integration.errors import LabError
from integration.guest import cache
from integration.guest.initramfs import Directory, File, archive
from integration.guest.stock_kernel import StockKernel
from integration.guest.uml_kernel import CONFIG, RECIPE


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
