"""Guests: a kernel with a WireGuard of its own, under which labs run as they do on the host.

A guest sees the host's files as they are and writes to memory: what it runs is this checkout with
this virtual environment. There are two, and both keep one contract (`job.Guest`):

* `qemu`: Debian's cloud kernel, unmodified, emulated by QEMU without any help of the processor.
  Nothing is compiled; programs take 12 times as long.
* `uml`: User-Mode Linux, Debian's kernel source built as a program of the host. Programs run
  natively, and time is virtual: waiting costs nothing, and a busy host does not make a test late.

    python -m integration --executor guest --guest uml grid --cell MQ:SY
    python -m integration.guest run uml -- sh -c 'uname -r; ip link add wg0 type wireguard'
    pytest integration --executor guest --guest qemu
"""

from typing import Final, Literal, get_args

GuestName = Literal["qemu", "uml"]

GUESTS: Final[tuple[GuestName, ...]] = get_args(GuestName)

PATIENCE: Final[dict[GuestName, float]] = {"qemu": 12.0, "uml": 3.0}
"""How much longer all may take in a guest. On an emulated processor programs take 12 times as long.
Time that is virtual stands still while a guest waits, not while it works, and beside other work of the
host it works slowly."""
