"""Run the back ends' contract on a real one, as root: `python -m tests.contracts userspace`.

Makes interfaces, so run it in a network namespace of its own.
"""

import asyncio
import sys
from collections.abc import Callable

from sidecar.errors import PortInUseError
from sidecar.wireguard.backend import Backend
from sidecar.wireguard.changes import SetDevice, SetUp
from sidecar.wireguard.kernel import KernelBackend
from sidecar.wireguard.userspace import UserspaceBackend

from .backend import ALIAS, CONTRACT, KEY, PORT, state_of

BACKENDS: dict[str, Callable[[str], Backend]] = {
    "kernel": KernelBackend,
    "userspace": UserspaceBackend,
}


async def a_port_in_use_is_said(make: Callable[[str], Backend]) -> None:
    """Two interfaces cannot have one port; this needs sockets, so the fake has no part in it."""
    first, second = make("kbwgc1"), make("kbwgc2")
    try:
        await first.create(ALIAS)
        await first.apply([SetDevice(KEY, PORT), SetUp()])
        await second.create(ALIAS)
        try:
            await second.apply([SetUp(), SetDevice(KEY, PORT)])
        except PortInUseError:
            assert (await state_of(second)).listen_port != PORT
            return
        raise AssertionError("two interfaces have one port")
    finally:
        await first.destroy()
        await second.destroy()


async def main(name: str) -> None:
    """Run every case on an interface of its own."""
    make = BACKENDS[name]
    for case in CONTRACT:
        backend = make("kbwgc0")
        try:
            await case(backend)
        finally:
            await backend.destroy()
        sys.stdout.write(f"ok {getattr(case, '__name__', case)}\n")
    await a_port_in_use_is_said(make)
    sys.stdout.write("ok a_port_in_use_is_said\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
