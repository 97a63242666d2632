"""Which WireGuard drives the interface (design D8)."""

import shutil
from typing import Literal

from ..errors import BackendUnavailableError
from .backend import Backend
from .kernel import KernelBackend
from .link import kernel_has_wireguard, read_link
from .userspace import PROGRAM, UserspaceBackend


async def choose_backend(name: Literal["auto", "kernel", "userspace"], interface: str) -> Backend:
    """Return the back end for `interface`: what it is already, else the kernel's, else user space.

    Raises:
        BackendUnavailableError: neither works; says what was tried.
        PrivilegeError: the kernel refuses us the attempt.
    """
    existing = await read_link(interface)
    if existing is not None and name == "auto":
        return KernelBackend(interface) if existing.kind == "wireguard" else _userspace(interface)
    if name == "userspace":
        return _userspace(interface)
    if await kernel_has_wireguard():
        return KernelBackend(interface)
    if name == "kernel":
        raise BackendUnavailableError(
            "this kernel has no WireGuard: load the module (modprobe wireguard) on the host, or "
            "set KBWG_BACKEND=userspace"
        )
    if shutil.which(PROGRAM) is None:
        raise BackendUnavailableError(
            f"no WireGuard of any kind: the kernel has no module and {PROGRAM} is not installed"
        )
    return _userspace(interface)


def _userspace(interface: str) -> Backend:
    return UserspaceBackend(interface)
