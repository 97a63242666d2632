#!/usr/bin/env bash
# Installs what the labs need, where it is missing: Debian packages, and a wireguard-go of 2023 or
# later in .tools/bin. Debian 12's own wireguard-go is six times slower, so there it comes from the
# distribution's backports, read by a private apt configuration: the host's own is not touched.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/.tools
declare -A packages=(
    [wg]=wireguard-tools [nft]=nftables [turnserver]=coturn [tcpdump]=tcpdump
    [conntrack]=conntrack [ping]=iputils-ping [ip]=iproute2 [iperf3]=iperf3
    [nsenter]=util-linux [sysctl]=procps
)

say() { echo "provision: $*" >&2; }

updated=
update_once() {
    [ -n "$updated" ] || apt-get -qq update >&2
    updated=yes
}

install_packages() {
    local missing=() program
    for program in "${!packages[@]}"; do
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

install_packages
install_wireguard_go
