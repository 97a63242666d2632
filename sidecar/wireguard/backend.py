"""What the agent asks of a WireGuard implementation: six verbs, one contract test suite.

`kernel.KernelBackend` and `userspace.UserspaceBackend` implement it; `choose_backend` picks.
All calls are safe to cancel: a cancelled call leaves no answer behind for the next one.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from ..identity import PublicKey
from .changes import Change
from .device import DeviceState, PeerState

BackendName = Literal["kernel", "userspace"]


class Backend(Protocol):
    """One WireGuard interface. Errors are `BackendError` unless said otherwise."""

    @property
    def name(self) -> BackendName:
        """Which implementation this is, for status."""

    @property
    def interface(self) -> str:
        """Name of the interface that it drives."""

    async def create(self, alias: str) -> None:
        """Create the interface, tagged with `alias`, down and without a configuration.

        Raises:
            InterfaceError: an interface of this name exists.
            PrivilegeError: a capability or `/dev/net/tun` is missing.
            BackendUnavailableError: this host has no such WireGuard.
        """

    async def read(self) -> DeviceState | None:
        """Read everything; `None`: there is no interface of this name.

        A peer that the kernel splits over several messages is one peer here.

        Raises:
            InterfaceError: the interface exists but is not a WireGuard that we can drive.
        """

    async def read_peers(self) -> dict[PublicKey, PeerState]:
        """Read the peers only: cheap enough for once a second with 1,000 peers."""

    async def apply(self, changes: Sequence[Change]) -> None:
        """Make `changes` in order; the first failure stops and is raised.

        Raises:
            PortInUseError: the listen port is taken.
            BackendError: anything else that was refused.
        """

    async def destroy(self) -> None:
        """Remove the interface and every process behind it; harmless if there is none."""

    async def close(self) -> None:
        """Let go of sockets; the interface lives on."""
