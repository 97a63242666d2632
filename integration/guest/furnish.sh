# The second half of a guest's start, in its final root: furnishes it and runs the command.
# $scratch is the directory of the host with the command; $output, $records and $status are devices.
b=/bin/busybox
$b mkdir -p /dev/pts /dev/shm /run/lock
$b mount -t devpts -o ptmxmode=666 devpts /dev/pts
$b mount -t tmpfs shm /dev/shm
$b ln -s /proc/self/fd /dev/fd
for stream in 0:stdin 1:stdout 2:stderr; do $b ln -s "fd/${stream%:*}" "/dev/${stream#*:}"; done
$b mount -t debugfs debugfs /sys/kernel/debug
$b ip link set lo up
$b hostname guest
exec 9>"$status"
# The host's shell: busybox's own prefers its own ip, date and ping to the host's.
$b setsid /bin/sh "$scratch/command" </dev/null >"$output" 2>&1 3>"$records" 9>&-
echo "exit $?" >&9
exec 9>&-
$b sync
$b poweroff -f
