# A User-Mode Linux guest's first process. Its root is the host's own, read-only; over it comes a
# layer of memory. $scratch is a directory of the host.
b=/bin/busybox
fail() { echo "guest: $*"; $b poweroff -f; }
new=$scratch/root/new
$b mount -t tmpfs -o mode=755,size=75% layer "$scratch/root" || fail "no memory for its files"
$b mkdir "$scratch/root/upper" "$scratch/root/work" "$new"
$b mount -t overlay overlay "$new" \
    -o "lowerdir=/,upperdir=$scratch/root/upper,workdir=$scratch/root/work" || fail "no root"
$b mount -t proc proc "$new/proc"
$b mount -t sysfs sysfs "$new/sys"
$b mount -t devtmpfs dev "$new/dev"
$b mount -t tmpfs -o mode=755 run "$new/run"
for line in ttyS0 ttyS1 ttyS2; do $b stty raw -echo <"$new/dev/$line"; done
cd "$new" && $b pivot_root . mnt || fail "its root does not stay"
exec $b chroot . $b sh -c "scratch=$scratch output=/dev/ttyS0 records=/dev/ttyS1 status=/dev/ttyS2
    $b umount -l /mnt; . $furnish"
