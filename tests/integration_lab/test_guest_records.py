from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.errors import LabError
from integration.guest.records import Decoder, Files, Record, Report, encode, pack, unpack

RECORDS: list[Record] = [
    Report({"nodeid": "a.py::test_ö[1/2]", "outcome": "passed", "sections": [["out", "x\ny"]]}),
    Files(bytes(range(256))),
    Report({}),
]


@given(st.integers(min_value=1, max_value=400))
def test_records_come_out_as_they_went_in_however_they_are_cut(size: int) -> None:
    data = b"".join(map(encode, RECORDS))
    decoder = Decoder()
    found = [
        record
        for start in range(0, len(data), size)
        for record in decoder.feed(data[start : start + size])
    ]
    assert found == RECORDS


@given(st.binary(max_size=80).filter(lambda data: b"\n" not in data))
def test_any_line_is_a_record_or_our_error(line: bytes) -> None:
    try:
        list(Decoder().feed(line + b"\n"))
    except LabError:
        return


@pytest.mark.parametrize("line", [b"[]", b"3", b"{}", b'{"files": 3}', b'{"files": "?"}'])
def test_json_that_is_no_record_is_our_error(line: bytes) -> None:
    with pytest.raises(LabError, match="malformed"):
        list(Decoder().feed(line + b"\n"))


def test_a_directory_arrives_where_it_was(tmp_path: Path) -> None:
    guest, host = tmp_path / "guest", tmp_path / "host"
    (guest / "artifacts" / "deep").mkdir(parents=True)
    host.mkdir()
    (guest / "artifacts" / "deep" / "log").write_text("said")
    unpack(pack(guest / "artifacts", guest), host)
    assert (host / "artifacts" / "deep" / "log").read_text() == "said"
