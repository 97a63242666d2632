#!/bin/busybox sh
# A QEMU guest's first process, in its initial file system. Its root is the host's own, read-only;
# over it comes a layer of memory. guest.conf says where things are.
b=/bin/busybox
. /guest.conf
fail() { echo "guest: $*"; $b sleep 1; $b poweroff -f; }
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
for module in $modules; do $b insmod "/modules/$module" || fail "no $module"; done
$b mount -t virtiofs -o ro root /lower || fail "the host shares nothing"
$b mount -t tmpfs -o mode=755,size=75% layer /layer
$b mkdir /layer/upper /layer/work
$b mount -t overlay overlay /new -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work ||
    fail "no root"
for tree in proc sys dev; do $b mount --move "/$tree" "/new/$tree"; done
$b mount -t tmpfs -o mode=755 run /new/run
# Modules load by themselves from here.
$b mkdir -p "/new/lib/modules/$release"
$b mount --bind "/new$tree_of_modules" "/new/lib/modules/$release"
for port in /new/sys/class/virtio-ports/*; do
    # Named output, records and status by the host.
    eval "$($b cat "$port/name")=/dev/${port##*/}"
done
exec $b switch_root /new $b sh -c \
    "scratch=$scratch output=$output records=$records status=$status; . $furnish"
