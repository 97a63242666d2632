"""Searches of SSDP and their answers (UPnP Device Architecture 2.0 §1.3)."""

import pytest
from async_upnp_client.ssdp import build_ssdp_search_packet

from nat.errors import PortMappingError
from nat.portmap.ssdp import GROUPS, MAX_WAIT, Found, encode_search, parse_answer

TARGET = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"

ANSWER = (
    b"HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\n"
    b"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
    b"location:http://192.168.1.1:5000/rootDesc.xml\r\nLOCATION: http://203.0.113.1/\r\n\r\n"
)


def test_a_search_is_the_librarys_own() -> None:
    def lines(packet: bytes) -> list[bytes]:
        first, *headers = packet.split(b"\r\n")
        return [first, *sorted(headers)]

    theirs = build_ssdp_search_packet(("239.255.255.250", 1900), MAX_WAIT, TARGET)

    assert lines(encode_search(TARGET)) == lines(theirs)


def test_an_answer_says_what_answers_and_where_the_first_time_that_it_does() -> None:
    assert parse_answer(ANSWER) == Found(TARGET, "http://192.168.1.1:5000/rootDesc.xml")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        ANSWER.replace(b"HTTP/1.1 200 OK", b"NOTIFY * HTTP/1.1"),
        ANSWER.replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found"),
        ANSWER.replace(b"ST:", b"NT:"),
        ANSWER[:-2],
    ],
    ids=["empty", "notify", "refusal", "no target", "cut"],
)
def test_anything_else_is_no_answer(payload: bytes) -> None:
    with pytest.raises(PortMappingError):
        parse_answer(payload)


def test_a_search_names_the_group_of_its_family() -> None:
    assert b"\r\nHOST:239.255.255.250:1900\r\n" in encode_search("x", GROUPS[4])
    assert b"\r\nHOST:[ff02::c]:1900\r\n" in encode_search("x", GROUPS[6])
