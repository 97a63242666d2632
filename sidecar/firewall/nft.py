"""Puts rules in place with the program `nft`, a transaction at a time."""

import asyncio
import logging
import shutil
from typing import Final

from ..errors import BackendError, BackendUnavailableError, PrivilegeError
from .rules import TunnelFilter

_log = logging.getLogger(__name__)

PROGRAM: Final = "nft"

TIMEOUT: Final = 10.0
"""Seconds for one run; it takes 20 ms, and the machine may be busy booting."""


class Firewall:
    """The filter of one tunnel interface.

    Args:
        program: name or path of `nft`.
    """

    def __init__(self, program: str = PROGRAM) -> None:
        self._program = program
        self._applied: TunnelFilter | None = None
        self._standing: str | None = None

    async def keep(self, wanted: TunnelFilter) -> None:
        """Make the filter be as wanted; also if somebody has flushed or changed rules meanwhile.

        Raises:
            BackendUnavailableError: `nft` is not installed, or the kernel has no nftables.
            PrivilegeError: CAP_NET_ADMIN is missing.
            BackendError: it was refused.
        """
        if wanted == self._applied and await self._stands(wanted):
            return
        code, _, said = await self._run(wanted.ruleset())
        if code != 0:
            raise _refusal(said)
        if self._applied is not None and wanted == self._applied:
            _log.warning("packet filter had gone, put back", extra={"table": wanted.table})
        self._applied = wanted
        self._standing = await self._listing(wanted)

    async def remove(self, interface: str) -> None:
        """Leave nothing of an interface's filter; harmless if there is none.

        Raises:
            BackendError: it was refused.
        """
        self._applied = None
        try:
            code, _, said = await self._run(TunnelFilter(interface, frozenset()).removal())
        except BackendUnavailableError:
            return  # what cannot be made has not been made
        if code != 0:
            raise _refusal(said)

    async def _stands(self, wanted: TunnelFilter) -> bool:
        """Whether every rule is there: `nft flush table` leaves an empty table, which lets all in."""
        listing = await self._listing(wanted)
        return listing is not None and listing == self._standing

    async def _listing(self, wanted: TunnelFilter) -> str | None:
        """Return the rules as the kernel has them, without counts; `None`: there is no table."""
        code, listing, _ = await self._run(f"list table inet {wanted.table}")
        return listing if code == 0 else None

    async def _run(self, commands: str) -> tuple[int, str, str]:
        """Run commands as one transaction; returns the exit status, the output and the complaints."""
        program = shutil.which(self._program)
        if program is None:
            raise BackendUnavailableError(
                f"{self._program} is not installed, and without a packet filter every peer would "
                "reach what this host reaches: install nftables"
            )
        try:
            process = await asyncio.create_subprocess_exec(
                program,
                "--stateless",
                # As an argument: a pipe may be closed by the time that it is written to.
                commands,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            # Out of processes, memory or descriptors: that may pass, the filter that stands stays.
            raise BackendError(f"{program} cannot be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(TIMEOUT):
                listed, said = await process.communicate()
        except TimeoutError as error:
            raise BackendError(f"{self._program} does not end") from error
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode is not None
        return (
            process.returncode,
            listed.decode("utf-8", "replace"),
            said.decode("utf-8", "replace"),
        )


def _refusal(said: str) -> Exception:
    lines = said.strip().splitlines()
    text = lines[0] if lines else "no reason given"
    if "Operation not permitted" in said:
        return PrivilegeError("no permission to filter packets: CAP_NET_ADMIN is needed")
    if "Operation not supported" in said or "Protocol not supported" in said:
        return BackendUnavailableError(f"this kernel has no nftables: {text}")
    return BackendError(f"the packet filter was refused: {text}")
