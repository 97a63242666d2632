"""`keybase fs` (§5)."""

import json

import pytest

from .support import TEAM, WORLD, Simulator, simulator

FOLDER = f"/keybase/team/{TEAM}"


def fails(keybase: Simulator, device: str, *argv: str) -> str:
    done = getattr(keybase, device).run("fs", *argv)
    assert done.code == 2
    return str(done.err.rstrip("\n").partition(" 001 ")[2])


def wait_for(keybase: Simulator, path: str) -> None:
    """Wait until a write of another device is flushed."""
    for _ in range(200):
        if keybase.bob.run("fs", "read", path).code == 0:
            return
    raise AssertionError(f"{path} never came")


def test_section_5_a_written_file_is_read_back_byte_by_byte(keybase: Simulator) -> None:
    path, content = f"{FOLDER}/bytes", "".join(map(chr, range(256))) * 40

    written = keybase.alice.run("fs", "write", path, stdin=content)
    read = keybase.alice.run("fs", "read", path)

    assert (written.code, written.out, written.err) == (0, "", "")
    assert (read.code, read.out) == (0, content)


def test_section_5_other_devices_see_a_write_about_a_second_later(keybase: Simulator) -> None:
    path = f"{FOLDER}/later"
    keybase.alice.run("fs", "write", path, stdin="[]")

    assert fails(keybase, "bob", "read", path) == "file does not exist"
    assert keybase.alice.run("fs", "read", path).out == "[]"

    wait_for(keybase, path)
    assert keybase.bob.run("fs", "read", path).out == "[]"


def test_section_5_appending_keeps_what_is_there(keybase: Simulator) -> None:
    path = f"{FOLDER}/append"
    keybase.alice.run("fs", "write", path, stdin="one")

    keybase.alice.run("fs", "write", "-a", path, stdin="two")

    assert keybase.alice.run("fs", "read", path).out == "onetwo"


def test_section_5_a_write_truncates_before_it_reads_its_input(keybase: Simulator) -> None:
    path = f"{FOLDER}/truncate"
    keybase.alice.run("fs", "write", path, stdin="old")
    writing = keybase.alice.start("fs", "write", path)

    # The slow write is published empty: that is how readers come to see a torn file.
    while keybase.alice.run("fs", "read", path).out:
        assert writing.outlives(0.01)
    wait_for(keybase, path)
    assert keybase.bob.run("fs", "read", path).out == ""

    writing.write("new")
    assert writing.end().code == 0
    assert keybase.alice.run("fs", "read", path).out == "new"


@pytest.mark.parametrize("verb", ["read", "stat"])
def test_section_5_a_missing_file_has_its_own_words_for_each_verb(
    keybase: Simulator, verb: str
) -> None:
    done = keybase.alice.run("fs", verb, f"{FOLDER}/missing")

    out, text = {
        "read": ("", "file does not exist"),
        "stat": (f"/team/{TEAM}/missing\n", "file or folder does not exist (code 5103)"),
    }[verb]
    assert (done.code, done.out) == (2, out)
    assert done.err.endswith(f" {text}\n")


def test_section_5_stat_shows_the_last_writer_by_username(keybase: Simulator) -> None:
    path = f"{FOLDER}/stat"
    keybase.bob.run("fs", "write", path, stdin="12345")

    first, second = keybase.bob.run("fs", "stat", path).out.splitlines()

    assert first == f"/team/{TEAM}/stat"
    moment, *fields = second.split("\t")
    assert fields == ["FILE", "5", "stat", "bob", "NOT_STARTED"]
    assert moment.endswith(" UTC")
    assert len(moment) == len("2006-01-02 15:04:05 UTC")


def test_section_5_stat_of_a_folder_is_a_directory(keybase: Simulator) -> None:
    keybase.admin.write_file(f"{FOLDER}/inside/file", "x")

    assert "\tDIR\t" in keybase.alice.run("fs", "stat", f"{FOLDER}/inside").out


def test_section_5_old_revisions_can_be_read(keybase: Simulator) -> None:
    path = f"{FOLDER}/revisions"
    for text in ("one", "two"):
        keybase.admin.write_file(path, text)

    archived = keybase.bob.run("fs", "stat", "--show-archived", path).out.splitlines()[1:]

    assert keybase.bob.run("fs", "read", "--rev", "1", path).out == "one"
    assert keybase.bob.run("fs", "read", path).out == "two"
    assert [line.partition(")")[0] for line in archived] == ["2", "1"]


def test_section_5_ls_lists_one_a_line(own: Simulator) -> None:
    for name in ("b.json", "a.json", "folder/c"):
        own.admin.write_file(f"{FOLDER}/{name}", "x")

    listed = own.alice.run("fs", "ls", "-1", "--nocolor", FOLDER)

    assert (listed.code, listed.out) == (0, "a.json\nb.json\nfolder\n")


def test_section_5_a_path_may_be_an_escaped_url(keybase: Simulator) -> None:
    keybase.admin.write_file(f"{FOLDER}/a b", "x")

    assert keybase.alice.run("fs", "read", f"keybase://team/{TEAM}/a%20b").out == "x"


def test_section_6_readers_read_and_do_not_write(keybase: Simulator) -> None:
    path = f"{FOLDER}/reader"
    keybase.admin.write_file(path, "x")

    assert keybase.carol.run("fs", "read", path).out == "x"
    assert fails(keybase, "carol", "write", path) == (
        f"carol does not have write access to directory {FOLDER}"
    )


def test_section_5_strangers_have_no_access(keybase: Simulator) -> None:
    assert fails(keybase, "mallory", "read", f"{FOLDER}/x") == (
        "no access to this file or folder (code 5104)"
    )
    assert fails(keybase, "alice", "read", "/keybase/team/nobody/x") == (
        "nobody is not a Keybase team"
    )


def test_section_5_without_kbfs_a_call_blocks_and_then_fails(own: Simulator) -> None:
    own.admin.set("alice/laptop", "kbfs_up", False)
    reading = own.alice.start("fs", "stat", f"{FOLDER}/x")

    # The path is printed before the call blocks.
    assert reading.line() == f"/team/{TEAM}/x"
    assert reading.outlives(1.0)
    own.alice.stop()


@pytest.mark.parametrize("scale", ["0.002"])
def test_section_5_the_wait_for_kbfs_ends_after_a_scaled_minute(
    tmp_path_factory: pytest.TempPathFactory, scale: str
) -> None:
    members = {"SIMULATOR_MEMBERS": "alice=owner", "SIMULATOR_DEVICES": "alice/laptop"}
    root = tmp_path_factory.mktemp("keybase")
    with simulator(root, **members, SIMULATOR_TIME_SCALE=scale) as own:
        own.admin.set("alice/laptop", "kbfs_up", False)

        assert fails(own, "alice", "read", f"{FOLDER}/x") == "timeout waiting for kbfs (code 1603)"


def test_section_5_a_call_goes_on_when_kbfs_connects(own: Simulator) -> None:
    own.admin.write_file(f"{FOLDER}/x", "content")
    own.admin.set("alice/laptop", "kbfs_up", False)
    reading = own.alice.start("fs", "read", f"{FOLDER}/x")
    assert reading.outlives(0.2)

    own.admin.set("alice/laptop", "kbfs_up", True)

    assert reading.end().out == "content"


def test_section_5_a_write_is_lost_when_kbfs_dies_before_it_is_flushed(own: Simulator) -> None:
    own.alice.run("fs", "write", f"{FOLDER}/lost", stdin="x")

    own.admin.set("alice/laptop", "kbfs_up", False)
    own.admin.set("alice/laptop", "kbfs_up", True)

    assert fails(own, "alice", "read", f"{FOLDER}/lost") == "file does not exist"


@pytest.mark.parametrize(("size", "seen"), [(0, ""), (4, '[{"u'), (-1, '[{"username":1}]')])
def test_section_5_reads_are_torn_on_order(keybase: Simulator, size: int, seen: str) -> None:
    path = f"{FOLDER}/torn"
    keybase.admin.write_file(path, '[{"username":1}]')

    keybase.admin.order("file-torn", path, size)
    done = keybase.bob.run("fs", "read", path)

    assert (done.code, done.out) == (0, seen)


def test_section_5_two_writers_at_once_make_a_conflicting_copy(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = f"{FOLDER}/peers.json"
    # "At once" is three seconds here: on a busy machine a command alone may take one.
    described = {"SIMULATOR_WORLD": json.dumps(WORLD), "SIMULATOR_TIME_SCALE": "3"}
    with simulator(tmp_path_factory.mktemp("keybase"), **described) as own:
        own.admin.write_file(path, "base")
        own.alice.run("fs", "write", path, stdin="alice")
        own.bob.run("fs", "write", path, stdin="bob")

        names: list[str] = []
        while len(names) < 2:
            names = own.carol.run("fs", "ls", "-1", FOLDER).out.splitlines()

    assert names[0].startswith("peers.conflicted (")
    assert names[0].endswith(").json")
