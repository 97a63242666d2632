#!/usr/bin/env bash
# Installs what the labs need, where it is missing: Debian packages, Keybase's bot library for Python
# in .tools/pykeybasebot, and a wireguard-go of 2023 or later in .tools/bin. With `qemu` or `uml` it
# is what that guest needs. Debian 12's own wireguard-go is six times slower, so there it comes from the
# distribution's backports, read by a private apt configuration: the host's own is not touched.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/.tools
declare -A labs=(
    [wg]=wireguard-tools [nft]=nftables [turnserver]=coturn [tcpdump]=tcpdump
    [conntrack]=conntrack [ping]=iputils-ping [ip]=iproute2 [iperf3]=iperf3
    [nsenter]=util-linux [sysctl]=procps [miniupnpd]=miniupnpd-nftables
)
declare -A qemu=(
    [qemu-system-x86_64]=qemu-system-x86 [/bin/busybox]=busybox-static [depmod]=kmod
    [setpriv]=util-linux
)
declare -A sharing=([/usr/libexec/virtiofsd]=virtiofsd)
declare -A uml=(
    [gcc]=gcc [make]=make [flex]=flex [bison]=bison [bc]=bc [xz]=xz-utils
    [/usr/include/stdio.h]=libc6-dev [/bin/busybox]=busybox-static [setpriv]=util-linux
)

say() { echo "provision: $*" >&2; }

updated=
update_once() {
    [ -n "$updated" ] || apt-get -qq update >&2
    updated=yes
}

install_packages() {
    local -n packages=$1
    local missing=() program
    for program in "${!packages[@]}"; do
        [[ $program != /* || ! -e $program ]] || continue
        PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("${packages[$program]}")
    done
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        say "run as root, or install: ${missing[*]}"
        exit 1
    fi
    say "installing ${missing[*]}"
    update_once
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" \
        >/dev/null
}

install_wireguard_go() {
    [ ! -x "$tools/bin/wireguard-go" ] || return 0
    # shellcheck disable=SC1091
    . /etc/os-release
    local suite=$VERSION_CODENAME work uri
    [ "$suite" != bookworm ] || suite=bookworm-backports
    say "fetching wireguard-go from $suite"
    update_once
    uri=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $VERSION_CODENAME" "Created-By: Packages" | head -n 1)
    [ -n "$uri" ] || { say "apt knows no repository of $VERSION_CODENAME"; exit 1; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' RETURN
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$work/sources"
    local apt=(
        -o "Dir::Etc::SourceList=$work/sources" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root
        -o APT::Default-Release=
    )
    apt-get -qq "${apt[@]}" update >&2
    (cd "$work" && apt-get -qq "${apt[@]}" download wireguard-go >&2)
    dpkg -x "$work"/wireguard-go_*.deb "$work/root"
    mkdir -p "$tools/bin"
    install -m 755 "$work/root/usr/bin/wireguard-go" "$tools/bin/wireguard-go"
}

# miniupnpd maps nothing where its outer address is not of the internet, and a lab's is of networks
# kept for benchmarks and documentation. From 2.3.2 on it has an option for that (see
# integration/miniupnpd.py); of an older one we make a copy whose list of such networks names
# 224.0.0.0/4 instead of them.
install_miniupnpd() {
    local program
    program=$(PATH=/usr/sbin:$PATH command -v miniupnpd)
    ! grep -q ext_allow_private_ipv4 "$program" || return 0
    [ "$tools/bin/miniupnpd" -ot "$program" ] || return 0
    mkdir -p "$tools/bin"
    python3 - "$program" "$tools/bin/miniupnpd" <<'PYTHON'
import struct
import sys
from ipaddress import ip_network
from pathlib import Path


def entry(text):
    """The network as in miniupnpd's table: address, and bits of the host part."""
    network = ip_network(text)
    return struct.pack("=II", int(network.network_address), 32 - network.prefixlen)


program = Path(sys.argv[1]).read_bytes()
for lab in ("192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"):
    if program.count(entry(lab)) != 1:
        sys.exit(f"provision: {sys.argv[1]} is not as expected: no {lab} among its networks")
    program = program.replace(entry(lab), entry("224.0.0.0/4"))
copy = Path(sys.argv[2])
copy.write_bytes(program)
copy.chmod(0o755)
PYTHON
}

# The library names dependencies of 2020, which no current Python runs, so it gets an environment of
# its own, with later ones.
install_bot_library() {
    local python=$tools/pykeybasebot/bin/python
    ! "$python" -c 'import pykeybasebot' 2>/dev/null || return 0
    say "installing pykeybasebot"
    rm -rf "$tools/pykeybasebot"
    python3 -m venv "$tools/pykeybasebot"
    "$python" -m pip install --quiet --disable-pip-version-check 'dataclasses-json>=0.6'
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps pykeybasebot==0.2.1
}

case ${1-labs} in
    labs)
        install_packages labs
        install_miniupnpd
        install_bot_library
        install_wireguard_go
        ;;
    qemu)
        install_packages qemu
        # Of Debian 12's QEMU it is a part.
        [ -e /usr/lib/qemu/virtiofsd ] || install_packages sharing
        ;;
    uml) install_packages uml ;;
    *) say "not labs, qemu or uml: $1"; exit 2 ;;
esac
