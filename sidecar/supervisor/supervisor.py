"""Runs the container's programs in their order, and ends them in the opposite one."""

import asyncio
import logging
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from ..errors import LoginError, PrivilegeError, SupervisorError
from ..host import TUN
from ..settings import Settings
from ..wireguard.userspace import SOCKET_DIR
from .credentials import Credentials
from .keybase import Keybase
from .login import Wanted
from .output import Output
from .program import Command, Program

_log = logging.getLogger(__name__)

AGENT_GRACE: Final = 8.0
"""Seconds for the agent's goodbye: LEAVE and the removal of everything. `docker stop` gives 10."""

DOWN: Final = 0
"""The agent's exit status after `kbwg down`: it stays down until the container is restarted."""

CANNOT_START: Final = 2
"""Its status when the environment must be changed first: another try would say the same."""

KILLED: Final = 1
"""Ours when the agent had to be killed at the end."""

SECRETS: Final = ("KBWG_KEYBASE_PAPERKEY",)
"""Variables that no program needs to see."""


class Supervisor:
    """The programs of one container.

    Args:
        settings: the environment, read.
        environment: the environment itself, which the programs inherit but for its secrets.
        credentials: as whom they run.
        output: where their lines go.
    """

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        credentials: Credentials,
        output: Output,
    ) -> None:
        inherited = {k: v for k, v in environment.items() if k not in SECRETS}
        self._wanted = (
            Wanted(settings.keybase_username, settings.keybase_device)
            if settings.keybase_username
            else None
        )
        self._paper_key = settings.paper_key()
        self._stop = asyncio.Event()
        self._logged_in = asyncio.Event()
        self._keybase: list[Program] = []
        home = settings.keybase_home
        credentials.own(settings.state_dir)
        credentials.own(settings.runtime_dir, shared=True)
        with suppress(PrivilegeError):
            # Needed by wireguard-go only, which says so itself.
            credentials.own(SOCKET_DIR)
        credentials.open_device(TUN)
        if settings.keybase_service == "own":
            home = home or settings.state_dir / "keybase"
            if not home.is_relative_to(settings.state_dir):
                # Else root may not even look at it: the service makes it.
                credentials.own(home)
            keybase = Keybase(settings.keybase, home, credentials, inherited)
            self._client = keybase
            self._keybase = [
                Program(keybase.service(), output, on_start=self._log_in),
                Program(keybase.kbfs(), output),
            ]
        else:
            self._logged_in.set()
        own_home = {"HOME": str(home), "KBWG_KEYBASE_HOME": str(home)} if home else {}
        kept = {"KBWG_SUPERVISED": "on"} if self._keybase else {}
        self._agent = Program(
            Command(
                "kbwg",
                credentials.agent_command(["kbwg", "run"]),
                {**inherited, **own_home, **kept},
                grace=AGENT_GRACE,
            ),
            output,
            final=frozenset({DOWN, CANNOT_START}),
        )

    def stop(self) -> None:
        """End everything, in order."""
        self._stop.set()

    async def run(self) -> int:
        """Run until `stop`, or until nothing more can be done; returns the exit status.

        Raises:
            LoginError: the login cannot work as it is configured.
            SupervisorError: a program cannot be run.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        code = 0
        try:
            async with asyncio.TaskGroup() as group:
                keeping = [group.create_task(program.run()) for program in self._keybase]
                agent = group.create_task(self._run_agent())
                stopping = group.create_task(self._stop.wait())
                await asyncio.wait({agent, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if agent.done() and not agent.cancelled() and agent.result() == DOWN:
                    _log.warning("the agent was ended; restart the container to bring it up again")
                    await stopping
                code = await self._end(agent)
                stopping.cancel()
                for task in keeping:
                    task.cancel()
        except BaseExceptionGroup as errors:
            await self._end(None)
            cause = _innermost(errors)
            if isinstance(cause, SupervisorError):
                raise cause from None
            raise
        return code if code >= 0 else KILLED

    async def _run_agent(self) -> int:
        await self._logged_in.wait()
        return await self._agent.run()

    async def _log_in(self) -> None:
        """Log in after each start of the service: a oneshot ended with the one before."""
        try:
            present = await self._client.log_in(self._wanted, self._paper_key)
        except LoginError as error:
            if not self._logged_in.is_set():
                raise
            # The agent goes by what it knows, and its tunnels need no chat; it says what it lacks.
            _log.error("no login any more", extra={"error": str(error)})
            return
        _log.info("keybase is ready", extra={"device": f"{present.username}/{present.device}"})
        self._logged_in.set()

    async def _end(self, agent: "asyncio.Task[int] | None") -> int:
        """End the agent first: its goodbye goes over the service, which ends last."""
        await self._agent.stop()
        code = 0
        if agent is not None:
            if not self._logged_in.is_set():
                agent.cancel()
            with suppress(asyncio.CancelledError):
                code = await agent
        for program in reversed(self._keybase):
            await program.stop()
        return code


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
