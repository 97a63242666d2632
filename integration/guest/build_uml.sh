#!/usr/bin/env bash
# Builds a User-Mode Linux kernel: build_uml.sh SOURCE.deb CONFIG DESTINATION
# The same source and configuration give the same file. All happens in the directory it is run in.
set -euo pipefail
export LC_ALL=C KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=kbwg KBUILD_BUILD_HOST=kbwg

source=$1 config=$2 destination=$3
fail() { echo "$*" >&2; exit 1; }

for program in gcc make flex bison bc xz; do
    command -v "$program" >/dev/null || fail "no $program: run integration/provision.sh uml"
done

# No driver is built: what they consist of needs no space, but their part of the configuration does.
dpkg-deb --fsys-tarfile "$source" | tar xO --wildcards './usr/src/linux-source-*.tar.xz' |
    tar xJ --strip-components=1 --exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/media/*.[ch]' \
        --exclude='*/drivers/net/ethernet/*.[ch]' --exclude='*/drivers/net/wireless/*.[ch]' \
        --exclude='*/sound/*.[ch]' --exclude='*/tools/testing/*'

make -s ARCH=um KCONFIG_ALLCONFIG="$config" allnoconfig
# A later kernel may have named some otherwise; what it lacks then the tests show.
refused=$(grep '^CONFIG_' "$config" | grep -vxFf .config || true)
[ -z "$refused" ] || echo "this kernel has no such options: $refused" >&2

make -s ARCH=um -j"$(nproc)" linux >build.log 2>&1 || fail "$(tail -n 40 build.log)"
strip -s -o "$destination" linux
