"""What a topology is built with: golden text."""

import subprocess
from pathlib import Path

from integration import compose_file
from integration.labs import wiring
from integration.topology import Topology

TOPOLOGY = """
services:
  router:
    command: kbwg-node router
    networks:
      home: {ipv4_address: 192.168.1.1}
      internet: {ipv4_address: 198.18.100.2, ipv6_address: "2001:db8::2"}
    sysctls: {net.ipv4.ip_forward: "1", net/ipv4/conf/eth0.7/rp_filter: "2"}
  host:
    command: sleep 1
    networks:
      home: {ipv4_address: 192.168.1.10}
    volumes: ["state:/var/lib/it's", "shared:/run/shared:ro"]
networks:
  home: {ipam: {config: [{subnet: 192.168.1.0/24}]}}
  internet: {ipam: {config: [{subnet: 198.18.100.0/24}, {subnet: "2001:db8::/64"}]}}
volumes: {state: , shared: }
"""


def topology() -> Topology:
    return compose_file.parse(TOPOLOGY, {}, source="test.yaml")


def script(node: str) -> str:
    return wiring.node_script(
        topology().service(node), stage=Path("/stage"), volumes=Path("/vol"), needed=(Path("/x"),)
    )


def test_the_switch_has_a_bridge_for_each_network_and_a_port_for_each_interface() -> None:
    assert wiring.switch_batch(topology(), {"router": "ns.r", "host": "ns.h"}) == (
        "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
        "link set br0 up\n"
        "link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
        "link set br1 up\n"
        "link add p0 type veth peer name eth0 netns ns.r\n"
        "link set p0 master br0 up\n"
        "link add p1 type veth peer name eth1 netns ns.r\n"
        "link set p1 master br1 up\n"
        "link add p2 type veth peer name eth0 netns ns.h\n"
        "link set p2 master br0 up\n"
    )


def test_a_node_gets_its_addresses_and_never_waits_for_duplicates() -> None:
    assert wiring.node_batch(topology().service("router")) == (
        "link set lo up\n"
        "address add 192.168.1.1/24 dev eth0\n"
        "link set eth0 up\n"
        "address add 198.18.100.2/24 dev eth1\n"
        "address add 2001:db8::2/64 dev eth1 nodad\n"
        "link set eth1 up\n"
    )


def test_a_volume_under_run_is_mounted_before_run_is_moved_into_place() -> None:
    lines = script("host").splitlines()
    bind = lines.index('mount -n --bind /vol/shared "$stage"/shared')
    assert lines.index('mount -n -t tmpfs -o mode=755 tmpfs "$stage"') < bind
    assert lines[bind + 1] == 'mount -n -o remount,bind,ro "$stage"/shared'
    assert bind < lines.index('mount -n --move "$stage" /run')


def test_sysctls_are_written_after_the_defaults_in_both_notations() -> None:
    text = script("router")
    assert text.index("echo 0 >/proc/sys/net/ipv4/ip_forward") < text.index(
        "printf '%s' 1 >/proc/sys/net/ipv4/ip_forward"
    )
    assert "printf '%s' 2 >/proc/sys/net/ipv4/conf/eth0.7/rp_filter" in text


def test_the_script_is_one_that_a_shell_can_read() -> None:
    for node in ("router", "host"):
        subprocess.run(["sh", "-n", "-c", script(node)], check=True)
