"""Compose files: what the labs understand becomes values, everything else is refused by name."""

from ipaddress import ip_interface, ip_network
from itertools import combinations
from pathlib import Path, PurePosixPath

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from integration import compose_file
from integration.errors import TopologyError
from integration.topology import Condition, HealthCheck, Topology, VolumeMount

COMPOSE = Path(__file__).parents[2] / "compose"
FILES = sorted(
    path for path in COMPOSE.glob("*.yaml") if "kbwg-testbed" in path.read_text(encoding="utf-8")
)
"""The topologies; what else is there, users run."""

GOOD = """
name: example
x-node: &node
  image: kbwg-testbed
  build: {context: .., target: testbed}
  cap_add: [NET_ADMIN]
  init: true
services:
  router:
    <<: *node
    command: kbwg-node router
    networks:
      home: {ipv4_address: 192.168.1.1, ipv6_address: "fd00::1"}
      internet: {ipv4_address: 198.18.100.2}
    sysctls: {net.ipv4.ip_forward: 1}
    environment: [NAT_MAPPING=none, EMPTY=]
    healthcheck: {test: [CMD, test, -e, /ready], interval: 500ms, retries: 4, start_period: 1m1s}
  host:
    <<: *node
    entrypoint: ["sh", "-c"]
    command: ["sleep infinity"]
    networks:
      home: {ipv4_address: 192.168.1.10}
    volumes: ["state:/var/lib/kbwg", "shared:/run/shared:ro"]
    environment: {GATEWAY: 192.168.1.1, PORT: 7321}
    depends_on:
      router: {condition: service_healthy}
  alone:
    <<: *node
    command: sleep 1
    network_mode: none
    depends_on: [host]
    healthcheck: {test: "true && true"}
networks:
  home: {ipam: {config: [{subnet: 192.168.1.0/24, gateway: 192.168.1.254}, {subnet: "fd00::/64"}]}}
  internet: {driver: bridge, ipam: {config: [{subnet: 198.18.100.0/24}]}}
volumes:
  state:
  shared: {}
"""


def parse(text: str, **variables: str) -> Topology:
    return compose_file.parse(text, variables, source="test.yaml")


def test_a_file_becomes_a_topology() -> None:
    topology = parse(GOOD)
    router, host, alone = (topology.service(name) for name in ("router", "host", "alone"))

    assert topology.networks["home"].subnets == (
        ip_network("192.168.1.0/24"),
        ip_network("fd00::/64"),
    )
    assert [attachment.interface for attachment in router.attachments] == ["eth0", "eth1"]
    assert router.attachment("home").addresses == (
        ip_interface("192.168.1.1/24"),
        ip_interface("fd00::1/64"),
    )
    assert str(router.address("internet")) == "198.18.100.2"
    assert router.argv == ("kbwg-node", "router")
    assert router.environment == {"NAT_MAPPING": "none", "EMPTY": ""}
    assert router.sysctls == {"net.ipv4.ip_forward": "1"}
    assert router.healthcheck == HealthCheck(argv=("test", "-e", "/ready"), timeout=63.0)
    assert host.argv == ("sh", "-c", "sleep infinity")
    assert host.environment == {"GATEWAY": "192.168.1.1", "PORT": "7321"}
    assert host.mounts == (
        VolumeMount(volume="state", target=PurePosixPath("/var/lib/kbwg")),
        VolumeMount(volume="shared", target=PurePosixPath("/run/shared"), read_only=True),
    )
    assert host.depends_on == {"router": Condition.HEALTHY}
    assert alone.depends_on == {"host": Condition.STARTED}
    assert alone.attachments == ()
    assert alone.healthcheck == HealthCheck(argv=("sh", "-c", "true && true"), timeout=90.0)
    assert topology.volumes == ("state", "shared")
    assert topology.with_dependencies(("alone",)) == ("router", "host", "alone")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: example", "secrets: {}", "test.yaml: the labs do not understand `secrets`"),
        ("init: true", "ports: ['80:80']", "services.router: the labs do not understand `ports`"),
        ("network_mode: none", "network_mode: host", "services.alone: only network_mode: none"),
        ("home: {ipam", "home: {internal: true, ipam", "networks.home: internal networks drop"),
        ("home: {ipam", "home: {external: true, ipam", "do not understand `external`"),
        ("{subnet: 198.18.100.0/24}", "{}", r"config\[0\]: subnet: must be a string"),
        ("[{subnet: 198.18.100.0/24}]", "[]", "networks.internet: needs a subnet"),
        ("198.18.100.0/24", "198.18.100.0/33", "subnet: .* does not appear to be"),
        ("{ipv4_address: 198.18.100.2}", "{}", "internet: needs ipv4_address or ipv6_address"),
        ("198.18.100.2}", "198.51.200.2}", "198.51.200.2 is in no subnet of internet"),
        ("ipv4_address: 192.168.1.10", "ipv4_address: 192.168.1.1", "both claim 192.168.1.1"),
        ("internet: {ipv4", "elsewhere: {ipv4", "no network elsewhere is declared"),
        ("state:/var/lib/kbwg", "./here:/var", "only named volumes"),
        ("state:/var/lib/kbwg", "state:relative", "only named volumes"),
        ("shared:ro", "shared:rw,z", "unknown mode 'rw,z'"),
        ("state:/var/lib/kbwg", "other:/var", "host: no volume other is declared"),
        ("[host]", "[nobody]", "no service nobody; there are alone, host, router"),
        ("service_healthy", "service_completed_successfully", "condition: .* is not a valid"),
        ("    depends_on: [host]", "    depends_on: {host: {condition: service_healthy}}", "no he"),
        ("environment: {GATEWAY", "environment: {MISSING: , GATEWAY", "MISSING: must be a string"),
        (
            "environment: {GATEWAY",
            "environment: {FLAG: true, GATEWAY",
            "FLAG: must be a string: put",
        ),
        ("[NAT_MAPPING=none,", "[NAT_MAPPING,", "must be NAME=value"),
        ("    command: sleep 1\n", "", "alone: has neither command nor entrypoint"),
        ("command: sleep 1", "command: {a: b}", "command must be a string or a list"),
        ("interval: 500ms", "interval: soon", "interval: 'soon' is no duration"),
        ("retries: 4", "retries: few", "retries: invalid literal"),
        ('{test: "true && true"}', "{test: [NONE]}", "test must be a string"),
        ("  alone:", "  Alone:", "services.Alone: a name is 1 to 24 of"),
        ("PORT: 7321", "PORT: 7321, PORT: 7322", "the key 'PORT' stands twice"),
        ("name: example", "name: [", "test.yaml: while parsing"),
        ("name: example", "1: x", "the key 1 must be a string"),
        ("volumes:\n  state:", "volumes:\n  state: {driver: nfs}", "not understand `driver`"),
        ("7321", '"${PORT}"', "test.yaml: PORT is not set"),
    ],
)
def test_what_the_labs_do_not_understand_is_refused_by_name(
    old: str, new: str, message: str
) -> None:
    assert GOOD.count(old) >= 1
    with pytest.raises(TopologyError, match=message):
        parse(GOOD.replace(old, new, 1))


def test_services_that_wait_for_each_other_are_refused() -> None:
    text = GOOD.replace("    sysctls:", "    depends_on: [alone]\n    sysctls:")
    with pytest.raises(TopologyError, match="router -> alone -> host -> router"):
        parse(text)


def test_only_variables_of_the_file_may_be_set() -> None:
    text = GOOD.replace("7321", '"${LISTEN_PORT:-7321}"')
    environment = {"LISTEN_PORT": "1", "OTHER": "x"}
    resolve = compose_file.resolve

    assert resolve(text, {}, environment, source="f") == {"LISTEN_PORT": "1"}
    assert resolve(text, {"LISTEN_PORT": "2"}, environment, source="f") == {"LISTEN_PORT": "2"}
    with pytest.raises(TopologyError, match="f has no variable LISTEN_PORTS; did you mean LISTEN_"):
        resolve(text, {"LISTEN_PORTS": "2"}, {}, source="f")
    with pytest.raises(TopologyError, match="it has LISTEN_PORT"):
        resolve(text, {"XYZ": "2"}, {}, source="f")
    assert parse(text, LISTEN_PORT="9").service("host").environment["PORT"] == "9"


def test_a_file_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(TopologyError, match="cannot read"):
        compose_file.read(tmp_path / "none.yaml", {}, {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TopologyError, match="cannot read"):
        compose_file.read(tmp_path / "binary.yaml", {}, {})


@given(st.text())
def test_any_text_is_a_topology_or_refused(text: str) -> None:
    try:
        parse(text)
    except TopologyError:
        return


YAML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "services",
                    "networks",
                    "volumes",
                    "a",
                    "command",
                    "ipam",
                    "config",
                    "subnet",
                    "test",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(YAML_VALUES)
def test_any_document_is_a_topology_or_refused(document: object) -> None:
    try:
        parse(yaml.safe_dump(document))
    except TopologyError:
        return


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_our_own_files_are_understood(path: Path) -> None:
    topology = compose_file.read(path, {}, {})
    assert topology.services


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_docker_would_accept_our_own_files_addresses(path: Path) -> None:
    """A Docker engine refuses overlapping subnets and a gateway that a container wants."""
    topology = compose_file.read(path, {}, {})
    subnets = [subnet for network in topology.networks.values() for subnet in network.subnets]
    for one, other in combinations(subnets, 2):
        assert not (one.version == other.version and one.overlaps(other))
    taken = {
        str(address.ip)
        for service in topology.services.values()
        for attachment in service.attachments
        for address in attachment.addresses
    }
    for network in yaml.safe_load(path.read_text())["networks"].values():
        for entry in network["ipam"]["config"]:
            assert entry["gateway"] not in taken
