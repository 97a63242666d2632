"""Reader of `compose/*.yaml`: the part of Compose that the labs understand, and nothing else.

What a lab would have to ignore is refused by name, so that a file never means one thing to
Docker and another to the namespaces. `compose/README.md` has the list.
"""

import difflib
import shlex
from collections.abc import Iterator, Mapping
from ipaddress import ip_interface, ip_network
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from .document import Node, duration
from .errors import TopologyError
from .interpolation import interpolate, names_in
from .topology import (
    Attachment,
    Condition,
    HealthCheck,
    IPNetwork,
    Network,
    Service,
    Topology,
    VolumeMount,
)

ONLY_DOCKER: Final = frozenset(
    {"image", "build", "cap_add", "cap_drop", "devices", "restart", "init", "stop_grace_period"}
)
"""Keys of a service that say how Docker builds and confines it; a namespace has no use for them."""


def read(path: Path, settings: Mapping[str, str], environment: Mapping[str, str]) -> Topology:
    """Read a file.

    Args:
        path: the compose file.
        settings: variables as given by name; one that the file does not know is an error.
        environment: where variables come from otherwise.

    Raises:
        TopologyError: the file cannot be read, or says what the labs do not understand.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TopologyError(f"cannot read {path}: {error}") from error
    return parse(text, resolve(text, settings, environment, source=path.name), source=path.name)


def resolve(
    text: str, settings: Mapping[str, str], environment: Mapping[str, str], *, source: str
) -> dict[str, str]:
    """Collect the variables of a file that have a value: from `settings`, then from `environment`.

    Raises:
        TopologyError: the file does not know a variable of `settings`.
    """
    known = {name for string in _strings(_load(text, source)) for name in names_in(string)}
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; it has {', '.join(sorted(known))}"
            raise TopologyError(f"{source} has no variable {name}{hint}")
    return {name: value for name, value in {**environment, **settings}.items() if name in known}


def parse(text: str, variables: Mapping[str, str], *, source: str) -> Topology:
    """Read the text of a compose file.

    Raises:
        TopologyError: names the place and what is wrong with it.
    """
    document = Node(_interpolated(_load(text, source), variables, source), source)
    document.allow("services", "networks", "volumes", "name")
    networks = {name: _network(name, node) for name, node in document.items("networks")}
    for _, node in document.items("volumes"):
        node.allow()
    return Topology(
        networks=networks,
        services={
            name: _service(name, node, networks) for name, node in document.items("services")
        },
        volumes=tuple(name for name, _ in document.items("volumes")),
    )


def _network(name: str, node: Node) -> Network:
    if node.get("internal"):
        raise node.error("internal networks drop everything that a router container forwards")
    node.allow("ipam", "driver", "driver_opts", "enable_ipv4", "enable_ipv6", "internal")
    ipam = node.child("ipam")
    ipam.allow("config", "driver")
    subnets: list[IPNetwork] = []
    for entry in ipam.list("config"):
        entry.allow("subnet", "gateway")
        subnets.append(entry.parsed("subnet", ip_network))
    if not subnets:
        raise node.error("needs a subnet in ipam.config: addresses are fixed in a lab")
    return Network(name=name, subnets=tuple(subnets))


def _service(name: str, node: Node, networks: Mapping[str, Network]) -> Service:
    node.check_name(name)
    node.allow(
        "command",
        "entrypoint",
        "environment",
        "networks",
        "network_mode",
        "volumes",
        "sysctls",
        "depends_on",
        "healthcheck",
        *ONLY_DOCKER,
    )
    if node.get("network_mode") not in (None, "none"):
        raise node.error("only network_mode: none is understood")
    argv = _argv(node, "entrypoint") + _argv(node, "command")
    if not argv:
        raise node.error("has neither command nor entrypoint")
    return Service(
        name=name,
        argv=argv,
        environment=node.strings("environment"),
        attachments=tuple(
            _attachment(network, index, entry, networks)
            for index, (network, entry) in enumerate(node.items("networks"))
        ),
        mounts=tuple(_mount(entry) for entry in node.list("volumes")),
        sysctls=node.strings("sysctls"),
        depends_on=_dependencies(node),
        healthcheck=_healthcheck(node.child("healthcheck")),
    )


def _argv(node: Node, key: str) -> tuple[str, ...]:
    match node.get(key):
        case None:
            return ()
        case str(text):
            return tuple(shlex.split(text))
        case list(words) if all(isinstance(word, str) for word in words):
            return tuple(words)
        case _:
            raise node.error(f"{key} must be a string or a list of strings")


def _attachment(
    network: str, index: int, node: Node, networks: Mapping[str, Network]
) -> Attachment:
    node.allow("ipv4_address", "ipv6_address")
    if network not in networks:
        raise node.error(f"no network {network} is declared")
    addresses = []
    for key in ("ipv4_address", "ipv6_address"):
        if node.get(key) is None:
            continue
        address = node.parsed(key, ip_interface).ip
        for subnet in networks[network].subnets:
            if address in subnet:
                addresses.append(ip_interface(f"{address}/{subnet.prefixlen}"))
                break
        else:
            raise node.error(f"{address} is in no subnet of {network}")
    if not addresses:
        raise node.error("needs ipv4_address or ipv6_address: the labs give out none themselves")
    return Attachment(network=network, interface=f"eth{index}", addresses=tuple(addresses))


def _mount(node: Node) -> VolumeMount:
    volume, colon, rest = node.text().partition(":")
    target, _, mode = rest.partition(":")
    if not colon or not target.startswith("/") or volume.startswith((".", "/", "~")):
        raise node.error("only named volumes as NAME:/PATH[:ro] are understood")
    if mode not in ("", "ro", "rw"):
        raise node.error(f"unknown mode {mode!r}")
    return VolumeMount(volume=volume, target=PurePosixPath(target), read_only=mode == "ro")


def _dependencies(node: Node) -> dict[str, Condition]:
    value = node.get("depends_on")
    if isinstance(value, list):
        return {entry.text(): Condition.STARTED for entry in node.list("depends_on")}
    dependencies = {}
    for name, entry in node.items("depends_on"):
        entry.allow("condition")
        dependencies[name] = entry.parsed("condition", Condition)
    return dependencies


def _healthcheck(node: Node) -> HealthCheck | None:
    if node.value is None:
        return None
    node.allow("test", "interval", "timeout", "retries", "start_period", "start_interval")
    match node.get("test"):
        case str(command) | ["CMD-SHELL", str(command)]:
            argv: tuple[str, ...] = ("sh", "-c", command)
        case ["CMD", str(program), *arguments]:
            argv = (program, *(str(argument) for argument in arguments))
        case _:
            raise node.error("test must be a string, [CMD, …] or [CMD-SHELL, command]")
    # The defaults are Compose's.
    interval = node.parsed("interval", duration, default="30s")
    retries = node.parsed("retries", int, default="3")
    return HealthCheck(
        argv=argv,
        timeout=node.parsed("start_period", duration, default="0s") + retries * interval,
    )


class _StrictLoader(yaml.SafeLoader):
    """A key that stands twice is an error; YAML itself would drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _load(text: str, source: str) -> object:
    try:
        # A subclass of the safe loader: no tag makes it build anything but plain values.
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # ValueError: a date or a number that only looks like one, such as 2026-99-99.
        raise TopologyError(f"{source}: {error}") from error


def _strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _strings(item)
        case list():
            for item in value:
                yield from _strings(item)
        case _:
            return


def _interpolated(value: object, variables: Mapping[str, str], source: str) -> object:
    match value:
        case str():
            try:
                return interpolate(value, variables)
            except TopologyError as error:
                raise TopologyError(f"{source}: {error}") from error
        case dict():
            return {key: _interpolated(item, variables, source) for key, item in value.items()}
        case list():
            return [_interpolated(item, variables, source) for item in value]
        case _:
            return value
