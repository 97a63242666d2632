"""Our routing table and the rule that leads to it, by rtnetlink. Blocking calls, on a thread."""

import errno
import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final, assert_never

from pyroute2.netlink.exceptions import NetlinkError

from nat.machine import IPAddress

from .link import on_thread, rtnetlink
from .reverse_path import filtered_uplinks
from .routes import Flow, HostRoute, PutRoute, RemoveRoute, RouteChange, RoutePolicy

FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}

PROTOCOL: Final = 107
"""Origin of our routes and rules (rtm_protocol), so that a person can tell them from others';
107 is `k`, and rt_protos of iproute2 gives it to nobody."""

_UDP: Final = 17


class RouteTable:
    """The table of one team's WireGuard.

    Args:
        policy: whose datagrams look into it.
    """

    def __init__(self, policy: RoutePolicy) -> None:
        self._policy = policy

    async def read(self) -> tuple[HostRoute, ...]:
        """Read the routes."""
        return await on_thread(self._read)

    async def resolve(self, flows: Sequence[tuple[Flow, int]]) -> dict[IPAddress, HostRoute | None]:
        """Find the route that each flow needs; `None`: none, the usual lookup says the same.

        A flow that no route leads to is left out.

        Args:
            flows: with the index of the interface that owns the source; 0: whichever.
        """
        return await on_thread(self._resolve, flows)

    async def apply(self, changes: Sequence[RouteChange]) -> None:
        """Make changes; the rule is there whenever there is a route to be found.

        Raises:
            BackendError: the kernel refuses.
        """
        await on_thread(self._apply, changes)

    async def filtered(self, uplinks: Mapping[IPAddress, int]) -> tuple[tuple[str, str], ...]:
        """Return the uplinks that drop what comes in, and what would mend each."""
        return await filtered_uplinks(uplinks)

    async def clear(self) -> None:
        """Remove the rule and every route; harmless if there are none."""
        await on_thread(self._clear)

    def _read(self) -> tuple[HostRoute, ...]:
        with rtnetlink("read the routes") as netlink:
            return tuple(_host_route(route) for route in self._dump(netlink))

    def _dump(self, netlink: Any) -> list[Any]:
        return [
            route
            for family in FAMILIES.values()
            for route in netlink.route("dump", family=family, table=self._policy.table)
            if route.get("table") == self._policy.table and route.get("dst") and route.get("oif")
        ]

    def _resolve(self, flows: Sequence[tuple[Flow, int]]) -> dict[IPAddress, HostRoute | None]:
        found: dict[IPAddress, HostRoute | None] = {}
        with rtnetlink("look up a route") as netlink:
            for flow, interface in flows:
                usual = self._look_up(netlink, flow, 0, with_source=False)
                # IPv6 prefers a source to an interface, unless it is asked for one alone.
                by_both = self._look_up(netlink, flow, interface, with_source=True)
                if by_both is None or interface not in (0, by_both.interface):
                    by_both = self._look_up(netlink, flow, interface, with_source=False)
                if by_both is None or interface not in (0, by_both.interface):
                    continue
                wanted = HostRoute(flow.remote, flow.source, by_both.interface, by_both.gateway)
                found[flow.remote] = None if wanted == usual else wanted
        return found

    def _look_up(
        self, netlink: Any, flow: Flow, interface: int, *, with_source: bool
    ) -> HostRoute | None:
        """Ask for the way of a marked datagram from any other port, so not in our own table."""
        question: dict[str, Any] = {"dst": str(flow.remote)}
        if self._policy.mark:
            question["mark"] = self._policy.mark
        if interface:
            question["oif"] = interface
        if with_source:
            question["src"] = str(flow.source)
        try:
            answer = next(iter(netlink.route("get", **question)))
        except NetlinkError as error:
            if error.code in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EINVAL, errno.ENODEV):
                return None
            raise
        source = flow.source if with_source else answer.get("prefsrc")
        return None if source is None else _host_route(answer, str(source))

    def _apply(self, changes: Sequence[RouteChange]) -> None:
        with rtnetlink("set a host route") as netlink:
            puts = [change.route for change in changes if isinstance(change, PutRoute)]
            for family in {FAMILIES[route.remote.version] for route in puts}:
                self._add_rule(netlink, family)
            for change in changes:
                match change:
                    case PutRoute(route=route):
                        netlink.route("replace", **self._request(route))
                    case RemoveRoute(route=route):
                        _ignoring(errno.ESRCH, netlink.route, "del", **self._request(route))
                    case _:
                        assert_never(change)
            if len(puts) < len(changes):
                self._drop_idle_rules(netlink)

    def _clear(self) -> None:
        with rtnetlink("remove our routes") as netlink:
            for family in FAMILIES.values():
                self._remove_rules(netlink, family)
            for route in self._dump(netlink):
                request = self._request(_host_route(route))
                _ignoring(errno.ESRCH, netlink.route, "del", **request)

    def _drop_idle_rules(self, netlink: Any) -> None:
        """Without routes there is no need for a rule, which every packet of the host passes."""
        used = {route["family"] for route in self._dump(netlink)}
        for family in set(FAMILIES.values()) - used:
            self._remove_rules(netlink, family)

    def _add_rule(self, netlink: Any, family: int) -> None:
        if not self._rules(netlink, family):
            _ignoring(errno.EEXIST, netlink.rule, "add", **self._rule(family))

    def _remove_rules(self, netlink: Any, family: int) -> None:
        for rule in self._rules(netlink, family):
            request = {**self._rule(family), "priority": rule.get("priority")}
            _ignoring(errno.ENOENT, netlink.rule, "del", **request)

    def _rules(self, netlink: Any, family: int) -> list[Any]:
        table = self._policy.table
        return [r for r in netlink.rule("dump", family=family) if r.get("table") == table]

    def _rule(self, family: int) -> dict[str, Any]:
        policy = self._policy
        request: dict[str, Any] = {
            "family": family,
            "priority": policy.priority,
            "table": policy.table,
            "ip_proto": _UDP,
            "sport_range": f"{policy.port}:{policy.port}",
            "protocol": PROTOCOL,
        }
        return {**request, "fwmark": policy.mark} if policy.mark else request

    def _request(self, route: HostRoute) -> dict[str, Any]:
        request: dict[str, Any] = {
            "family": FAMILIES[route.remote.version],
            "dst": f"{route.remote}/{route.remote.max_prefixlen}",
            "oif": route.interface,
            "prefsrc": str(route.source),
            "table": self._policy.table,
            "proto": PROTOCOL,
        }
        if route.gateway is not None:
            return {**request, "gateway": str(route.gateway)}
        return {**request, "scope": "link"}


def _host_route(route: Any, source: str = "") -> HostRoute:
    gateway = route.get("gateway")
    return HostRoute(
        remote=ip_address(str(route.get("dst"))),
        source=ip_address(source or str(route.get("prefsrc"))),
        interface=int(route.get("oif")),
        gateway=None if gateway is None else ip_address(str(gateway)),
    )


def _ignoring(code: int, call: Any, verb: str, **request: Any) -> None:
    try:
        call(verb, **request)
    except NetlinkError as error:
        if error.code != code:
            raise
