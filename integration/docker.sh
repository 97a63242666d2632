#!/usr/bin/env bash
# What the Docker lab and `make image` need, where it is missing:
#
#   docker.sh engine    a Docker engine that answers; one that runs already is left alone
#   docker.sh plugins   `docker compose` (v2) and buildx, in .tools/docker/cli-plugins
#   docker.sh base      the image debian:trixie-slim: pulled, or else made by debootstrap
#   docker.sh all       the three of them
#   docker.sh testbed   all, and the image kbwg-testbed of the present source
#   docker.sh images    all, and every image that needs nothing of Keybase's: agent, testbed, standin
#   docker.sh config    print the DOCKER_CONFIG under which the plugins are found
#
# Whatever cannot be had is said with its reason, and the status is 1: nothing is skipped in silence.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/.tools
config=$tools/docker
suite=trixie
image=debian:$suite-slim

engine_seconds=60   # dockerd is ready after about 5 on an idle machine
pull_seconds=60     # a registry that does not answer within this will not answer

say() { echo "docker: $*" >&2; }
die() { say "$*"; exit 1; }
have() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null; }

install() {
    [ "$(id -u)" = 0 ] || die "run as root, or install: $*"
    say "installing $*"
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
    flock "$tools/apt.lock" "${apt[@]}" update >&2 || say 'the package lists could not be renewed'
    DEBIAN_FRONTEND=noninteractive flock "$tools/apt.lock" \
        "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null
}

# The mirror from which this machine installs, whatever it is called.
mirror() {
    # shellcheck disable=SC1091
    . /etc/os-release
    apt-get indextargets --format '$(REPO_URI)' "Codename: $VERSION_CODENAME" 'Created-By: Packages' |
        sed -n 1p
}

engine() {
    local why
    why=$(docker info 2>&1 >/dev/null) && return 0
    [ "$(id -u)" = 0 ] || die "no Docker engine answers, and only root can start one: $why"
    have dockerd || install docker.io iptables
    have dockerd || die 'the package docker.io brought no dockerd'
    say 'starting dockerd'
    local log=$tools/dockerd.log
    # A session of its own: the engine outlives the terminal and the verb that started it.
    PATH=$PATH:/usr/sbin:/sbin setsid nohup dockerd >"$log" 2>&1 </dev/null &
    local process=$!
    for ((i = 0; i < engine_seconds * 5; i++)); do
        ! docker info >/dev/null 2>&1 || return 0
        kill -0 $process 2>/dev/null || break
        sleep 0.2
    done
    tail -n 5 "$log" >&2
    die "the Docker engine does not start; the lines above are the end of $log"
}

plugins() {
    # Everything that the user has set up stays in force: contexts, credentials, plugins.
    mkdir -p "$config/cli-plugins"
    local own=${HOME:-/root}/.docker entry name
    for entry in "$own"/* "$own"/cli-plugins/*; do
        name=${entry#"$own"/}
        [ ! -e "$entry" ] || [ "$name" = cli-plugins ] || ln -sfn "$entry" "$config/$name"
    done
    export DOCKER_CONFIG=$config
    local missing=()
    docker compose version >/dev/null 2>&1 || missing+=(docker-compose)
    docker buildx version >/dev/null 2>&1 || missing+=(docker-buildx)
    [ ${#missing[@]} -gt 0 ] || return 0
    local uri work
    uri=$(mirror)
    [ -n "$uri" ] || die "apt knows no mirror to fetch ${missing[*]} from"
    say "fetching ${missing[*]} from $suite"
    work=$(mktemp -d)
    trap "rm -rf '$work'" EXIT
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main" >"$work/sources"
    # A private apt configuration: the host's own is not touched.
    local apt=(
        apt-get -qq -o "Dir::Etc::SourceList=$work/sources" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root
        -o APT::Default-Release=
    )
    "${apt[@]}" update >&2
    (cd "$work" && "${apt[@]}" download "${missing[@]}" >&2)
    local package
    for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
    cp "$work"/root/usr/libexec/docker/cli-plugins/* "$config/cli-plugins/"
    docker compose version >/dev/null && docker buildx version >/dev/null
}

base() {
    ! docker image inspect "$image" >/dev/null 2>&1 || return 0
    say "pulling $image"
    ! timeout "$pull_seconds" docker pull --quiet "$image" >/dev/null 2>&1 || return 0
    say "it cannot be pulled: making it by debootstrap"
    [ "$(id -u)" = 0 ] || die 'debootstrap needs root'
    have debootstrap || install debootstrap
    local uri work
    uri=$(mirror)
    [ -n "$uri" ] || die "apt knows no mirror to make $image from"
    work=$(mktemp -d)
    trap "rm -rf '$work'" EXIT
    # ca-certificates before its bundle is replaced, so that no stage's apt puts it back.
    PATH=$PATH:/usr/sbin:/sbin debootstrap --variant=minbase --include=ca-certificates \
        "$suite" "$work/rootfs" "$uri" >"$tools/debootstrap.log" 2>&1 ||
        { tail -n 5 "$tools/debootstrap.log" >&2; die "debootstrap failed: $tools/debootstrap.log"; }
    slim "$work/rootfs"
    local change=(--change 'CMD ["bash"]')
    if [ -s /etc/ssl/certs/ca-certificates.crt ]; then
        # The authorities that this machine trusts, for a network whose proxy has one of its own.
        # Only this local base knows of it.
        cp /etc/ssl/certs/ca-certificates.crt "$work/rootfs/etc/ssl/certs/ca-certificates.crt"
        change+=(--change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt')
    fi
    tar -C "$work/rootfs" -c . | docker import "${change[@]}" - "$image" >/dev/null
}

# What the official slim images leave out, and go on leaving out.
slim() {
    local rootfs=$1
    printf '%s\n' \
        'path-exclude /usr/share/doc/*' 'path-include /usr/share/doc/*/copyright' \
        'path-exclude /usr/share/man/*' 'path-exclude /usr/share/info/*' \
        'path-exclude /usr/share/locale/*' 'path-exclude /usr/share/lintian/*' \
        >"$rootfs/etc/dpkg/dpkg.cfg.d/docker"
    printf 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n' \
        >"$rootfs/etc/apt/apt.conf.d/docker-slim"
    find "$rootfs/usr/share/doc" -type f ! -name copyright -delete
    find "$rootfs/usr/share/doc" -type l -delete
    find "$rootfs/usr/share/doc" -depth -type d -empty -delete
    rm -rf "$rootfs"/usr/share/{man,info,locale,lintian}/* "$rootfs"/var/lib/apt/lists/* \
        "$rootfs"/var/cache/apt/* "$rootfs"/var/log/* "$rootfs"/etc/resolv.conf
}

build() {
    local revision
    revision=$(git -C "$root" rev-parse --short HEAD 2>/dev/null || echo unknown)
    docker build --quiet --target "$1" --tag "$2" --build-arg "REVISION=$revision" "${@:3}" "$root" \
        >/dev/null
}

testbed() { build testbed kbwg-testbed; }

# Keybase's own programs cannot be had on every machine: this one has the simulator's in their place.
standin() { build sidecar kbwg:standin --build-arg KEYBASE=standin; }

images() {
    build agent kbwg:agent
    testbed
    standin
}

mkdir -p "$tools"
have docker || { [ "${1:-}" = config ] || install docker.io; }
case ${1:-} in
    engine | plugins | base) "$1" ;;
    all | testbed | images)
        engine
        plugins
        export DOCKER_CONFIG=$config
        base
        [ "$1" = all ] || "$1"
        ;;
    config) echo "$config" ;;
    *) die "usage: ${0##*/} engine|plugins|base|all|testbed|images|config" ;;
esac
