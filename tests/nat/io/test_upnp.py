"""UPnP towards hostile gateways: what answers a search, and what is fetched."""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from random import Random
from typing import Any

import pytest
from aiohttp import web
from async_upnp_client.const import HttpRequest, HttpResponse
from async_upnp_client.exceptions import UpnpCommunicationError
from hypothesis import given
from hypothesis import strategies as st

from nat.errors import PortMappingError
from nat.io import gateways, upnp, upnp_search
from nat.io.upnp_http import MAX_BODY, GatewayRequester
from nat.io.upnp_search import Location, leads_to
from nat.machine import Endpoint
from nat.portmap.events import UpnpAnswer
from nat.portmap.values import Gateway, Granted, Refused, Uplink

LOOPBACK = ip_address("127.0.0.1")
HOME = Uplink(
    Gateway(ip_address("192.168.1.1"), "eth0"), Endpoint(ip_address("192.168.1.2"), 20000)
)
HERE = Uplink(Gateway(LOOPBACK, "lo"), Endpoint(LOOPBACK, 20000))

ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
    b"USN: uuid:1::urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n"
    b"LOCATION: http://192.168.1.1:5000/rootDesc.xml\r\n\r\n"
)


ANSWER6 = ANSWER.replace(b"192.168.1.1", b"[2001:db8::1]")


@pytest.mark.parametrize(
    ("url", "leads"),
    [
        ("http://192.168.1.1:5000/rootDesc.xml", True),
        ("http://192.168.1.1/rootDesc.xml", True),
        ("http://192.168.1.66:5000/rootDesc.xml", False),
        ("http://192.168.1.1@203.0.113.1/", False),
        ("http://192.168.1.1.example.org/", False),
        ("https://192.168.1.1/", False),
        ("file:///etc/passwd", False),
        ("http://192.168.1.1:99999/", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_only_the_gateway_s_own_pages_are_fetched(url: str, leads: bool) -> None:
    assert leads_to(url, HOME.gateway.ip) is leads


@pytest.mark.parametrize(
    ("payload", "source", "found"),
    [
        (ANSWER, "192.168.1.1", "http://192.168.1.1:5000/rootDesc.xml"),
        (ANSWER, "192.168.1.66", None),
        (ANSWER6, "2001:db8::1", "http://[2001:db8::1]:5000/rootDesc.xml"),
        (ANSWER6, "fe80::1%eth0", None),
        (ANSWER.replace(b"192.168.1.1:5000", b"203.0.113.1:80"), "192.168.1.1", None),
        (ANSWER.replace(b"InternetGatewayDevice", b"MediaServer"), "192.168.1.1", None),
        (ANSWER.replace(b"HTTP/1.1 200 OK", b"NOTIFY * HTTP/1.1"), "192.168.1.1", None),
        (b"", "192.168.1.1", None),
        (b"\xff\xfe\x00" * 40, "192.168.1.1", None),
        (ANSWER[:40], "192.168.1.1", None),
    ],
)
def test_only_the_gateway_s_own_answer_counts(
    payload: bytes, source: str, found: str | None
) -> None:
    """And leads to where it comes from."""
    location = upnp_search._location(payload, source)
    assert location == (found and Location(found, ip_address(source)))


@given(st.binary(max_size=200), st.integers(min_value=0, max_value=len(ANSWER)))
def test_any_bytes_are_no_answer_or_one_of_the_gateway(noise: bytes, cut: int) -> None:
    for payload in (noise, ANSWER[:cut] + noise, ANSWER[:cut] + noise + ANSWER[cut:]):
        found = upnp_search._location(payload, "192.168.1.1")
        assert found is None or leads_to(found.url, HOME.gateway.ip)


class FloodedSocket(socket.socket):
    """One that has something to read for ever, or an error."""

    def __init__(self, error: OSError | None) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_DGRAM)
        self.setblocking(False)
        self.bind(("127.0.0.1", 0))
        self.sendto(b"", self.getsockname())  # readable from now on: nobody takes it out
        self.error = error
        self.reads = 0

    def recvfrom(self, *_: Any) -> tuple[bytes, tuple[str, int]]:
        self.reads += 1
        assert self.reads < 100_000, "nothing else gets a turn"
        if self.error is not None:
            raise self.error
        return ANSWER, ("192.168.1.66", 1900)


@pytest.mark.parametrize("error", [None, OSError(errno.ENETDOWN, "network is down")])
def test_a_flood_of_answers_or_errors_ends_with_the_search_and_starves_nobody(
    error: OSError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    flooded = FloodedSocket(error)
    monkeypatch.setattr(upnp_search, "_open", lambda *_: flooded)
    monkeypatch.setattr(upnp_search, "WAITS", (0.02, 0.02))
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def search_beside() -> Location | None:
        beside = asyncio.get_running_loop().create_task(take_turns())
        try:
            return await upnp_search.search(HERE, 0)
        finally:
            beside.cancel()

    assert asyncio.run(search_beside()) is None
    assert 0 < flooded.reads <= turns + len(upnp_search.WAITS)


def test_an_answer_is_found_behind_others() -> None:
    async def receive() -> Location:
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gateway,
        ):
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
            loop.add_reader(sock.fileno(), readable.set)
            for payload in (b"noise", b"", ANSWER.replace(b"192.168.1.1:5000", b"127.0.0.1:80")):
                gateway.sendto(payload, sock.getsockname())
            try:
                async with asyncio.timeout(5):
                    return await upnp_search._receive(sock, readable, HERE)
            finally:
                loop.remove_reader(sock.fileno())

    url = "http://127.0.0.1:80/rootDesc.xml"
    assert asyncio.run(receive()) == Location(url, LOOPBACK)


def fetch(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> HttpResponse:
    """Serve one page on the loopback, and have it fetched as the gateway's."""

    async def serve() -> HttpResponse:
        app = web.Application()
        app.add_routes([web.get("/", handler)])
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            request = HttpRequest("GET", f"http://127.0.0.1:{port}/", {}, None)
            return await GatewayRequester(HERE, 0, LOOPBACK).async_http_request(request)
        finally:
            await runner.cleanup()

    return asyncio.run(serve())


def test_a_page_is_fetched() -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text="<root/>")

    assert (fetch(page).status_code, fetch(page).body) == (200, "<root/>")


def test_a_redirect_is_not_followed() -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://203.0.113.1/")

    assert fetch(page).status_code == 302


def test_an_endless_page_is_not_read_to_its_end() -> None:
    async def page(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(2 * MAX_BODY // 65536):
            await response.write(bytes(65536))
        return response

    with pytest.raises(PortMappingError, match="too long"):
        fetch(page)


def test_another_host_is_not_asked() -> None:
    request = HttpRequest("POST", "http://203.0.113.1/ctl", {}, "<x/>")

    with pytest.raises(PortMappingError, match="another host"):
        asyncio.run(GatewayRequester(HERE, 0, LOOPBACK).async_http_request(request))


SERVICE = """<service>
  <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>
  <serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
  <controlURL>{url}</controlURL><eventSubURL>/e</eventSubURL><SCPDURL>/scpd.xml</SCPDURL>
</service>"""

ROOT = """<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device>
  <deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
  <friendlyName>x</friendlyName><UDN>uuid:1</UDN><serviceList>{services}</serviceList>
</device></root>"""

BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>
<root>&b;</root>"""


@pytest.mark.parametrize(
    "document",
    [
        "",
        "<",
        "<root/>",
        BOMB,
        ROOT.format(services=""),
        ROOT.format(services=SERVICE.format(url="/ctl")),
        ROOT.format(services=SERVICE.format(url="http://203.0.113.1/ctl")),
        ROOT.format(services=SERVICE.replace("<SCPDURL>/scpd.xml</SCPDURL>", "").format(url="/c")),
    ],
    ids=["empty", "torn", "bare", "bomb", "no service", "no actions", "elsewhere", "no SCPD"],
)
def test_a_gateway_with_a_broken_description_maps_nothing_and_ends_nothing(
    document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def page(_: web.Request) -> web.StreamResponse:
        return web.Response(text=document, content_type="text/xml")

    async def ask() -> UpnpAnswer:
        app = web.Application()
        app.add_routes([web.get("/{page:.*}", page), web.post("/{page:.*}", page)])
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            port = runner.addresses[0][1]

            async def found(*_: object) -> Location:
                return Location(f"http://127.0.0.1:{port}/", LOOPBACK)

            monkeypatch.setattr(upnp, "search", found)
            return await upnp.UpnpClient(HERE, mark=0, rng=Random(1)).map(20000, 7200)
        finally:
            await runner.cleanup()

    assert not isinstance(asyncio.run(ask()), Granted)


def test_nobody_there_is_the_library_s_own_error() -> None:
    request = HttpRequest("GET", "http://127.0.0.1:9/", {}, None)

    with pytest.raises(UpnpCommunicationError):
        asyncio.run(GatewayRequester(HERE, 0, LOOPBACK).async_http_request(request))


NEIGHBOUR = ip_address("2001:db8::66")
ROUTER6 = Gateway(ip_address("fe80::1"), "lo", "02:00:00:00:00:01")
HOME6 = Uplink(ROUTER6, Endpoint(ip_address("::1"), 20000))


@pytest.mark.parametrize(
    ("hardware", "known", "trusted"),
    [
        ("02:00:00:00:00:01", ROUTER6, True),
        ("02:00:00:00:00:66", ROUTER6, False),
        (None, ROUTER6, False),
        (None, Gateway(ROUTER6.ip, "lo", None), False),
    ],
    ids=["the gateway's", "a neighbour's", "nobody's", "nothing is known"],
)
def test_another_address_of_the_gateway_is_known_by_its_hardware(
    hardware: str | None, known: Gateway, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {} if hardware is None else {(socket.if_nametoindex("lo"), NEIGHBOUR): hardware}
    monkeypatch.setattr(gateways, "_hardware_addresses", lambda: there)

    assert gateways.is_gateway(NEIGHBOUR, known) is trusted
    uplink = Uplink(known, HOME6.base)
    assert asyncio.run(upnp_search._is_gateway(NEIGHBOUR, uplink)) is trusted
    assert asyncio.run(upnp_search._is_gateway(known.ip, uplink))


FIREWALL = SERVICE.replace("WANIPConnection", "WANIPv6FirewallControl").format(url="/ctl")

ARGUMENTS = {
    "AddPinhole": (
        ("RemoteHost", "in", "string"),
        ("RemotePort", "in", "ui2"),
        ("InternalClient", "in", "string"),
        ("InternalPort", "in", "ui2"),
        ("Protocol", "in", "ui2"),
        ("LeaseTime", "in", "ui4"),
        ("UniqueID", "out", "ui2"),
    ),
    "DeletePinhole": (("UniqueID", "in", "ui2"),),
}


def description_of_actions() -> str:
    """Write the service's own description (SCPD), as far as we use it."""
    names = {name: kind for action in ARGUMENTS.values() for name, _, kind in action}
    actions = "".join(
        f"<action><name>{action}</name><argumentList>"
        + "".join(
            f"<argument><name>{name}</name><direction>{way}</direction>"
            f"<relatedStateVariable>A_{name}</relatedStateVariable></argument>"
            for name, way, _ in arguments
        )
        + "</argumentList></action>"
        for action, arguments in ARGUMENTS.items()
    )
    variables = "".join(
        f'<stateVariable sendEvents="no"><name>A_{name}</name><dataType>{kind}</dataType>'
        "</stateVariable>"
        for name, kind in names.items()
    )
    return (
        '<scpd xmlns="urn:schemas-upnp-org:service-1-0"><specVersion><major>1</major>'
        f"<minor>0</minor></specVersion><actionList>{actions}</actionList>"
        f"<serviceStateTable>{variables}</serviceStateTable></scpd>"
    )


ENVELOPE = (
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
    's:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>{}</s:Body></s:Envelope>'
)
ADDED = (
    '<u:AddPinholeResponse xmlns:u="urn:schemas-upnp-org:service:WANIPv6FirewallControl:1">'
    "<UniqueID>7</UniqueID></u:AddPinholeResponse>"
)
NOT_ALLOWED = (
    "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
    '<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>703</errorCode>'
    "<errorDescription>InboundPinholeNotAllowed</errorDescription></UPnPError></detail></s:Fault>"
)


@pytest.mark.parametrize(
    ("answer", "status", "expected"),
    [
        (ADDED, 200, Granted(HOME6.base, 7200)),
        (NOT_ALLOWED, 500, Refused("UPnP: error 703")),
        ("", 200, Refused("UPnP: UpnpError")),
    ],
    ids=["granted", "refused", "without an id"],
)
def test_a_firewall_for_ipv6_is_asked_for_a_pinhole_and_to_close_it(
    answer: str, status: int, expected: UpnpAnswer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def describe(request: web.Request) -> web.StreamResponse:
        text = (
            description_of_actions() if "scpd" in request.path else ROOT.format(services=FIREWALL)
        )
        return web.Response(text=text, content_type="text/xml")

    async def control(request: web.Request) -> web.StreamResponse:
        asked.append(await request.text())
        text = ENVELOPE.format(answer)
        return web.Response(text=text, content_type="text/xml", status=status)

    async def ask() -> UpnpAnswer:
        app = web.Application()
        app.add_routes([web.get("/{page:.*}", describe), web.post("/ctl", control)])
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "::1", 0).start()
            port = runner.addresses[0][1]

            async def found(*_: object) -> Location:
                return Location(f"http://[::1]:{port}/", HOME6.base.ip)

            monkeypatch.setattr(upnp, "search", found)
            client = upnp.UpnpClient(HOME6, mark=0, rng=Random(1))
            answered = await client.map(20000, 7200)
            await client.unmap(20000)
            return answered
        finally:
            await runner.cleanup()

    assert asyncio.run(ask()) == expected
    assert "<InternalClient>::1</InternalClient>" in asked[0]
    assert "<InternalPort>20000</InternalPort>" in asked[0]
    closed = [text for text in asked if "DeletePinhole" in text and ">7<" in text]
    assert len(closed) == isinstance(expected, Granted)
