"""The Keybase of this container: its programs, and the commands that log it in."""

import asyncio
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..errors import LoginError, SupervisorError
from ..keybase.wording import plainly
from .backoff import Backoff
from .credentials import Credentials, confine
from .login import LoggedIn, Nothing, Oneshot, Provision, Step, Wanted, next_step, refusal
from .program import Command, spawn

_log = logging.getLogger(__name__)

WAIT_SECONDS: Final = 30
"""Until a service that was started must answer; it takes a second, on a busy machine ten."""

COMMAND_SECONDS: Final = 60.0
"""For one command: `oneshot` has been seen to hang for ever beside a service that just starts."""

MAX_PATH: Final = 107
"""Bytes of the longest unix socket path (unix(7))."""


class Keybase:
    """Runs Keybase's programs as the unprivileged user, in one home.

    Args:
        program: the `keybase` executable.
        home: the home of service, KBFS and command line; on the state volume.
        credentials: the user.
        environment: what the programs find, without any secret.
    """

    def __init__(
        self,
        program: str,
        home: Path,
        credentials: Credentials,
        environment: Mapping[str, str],
    ) -> None:
        if len(str(home / ".config/keybase/keybased.sock")) > MAX_PATH:
            raise SupervisorError(f"{home} is too long a path for the service's socket")
        self._program = program
        self._home = home
        self._credentials = credentials
        # HOME alone decides where everything is, also for kbfsfuse, which has no such option. What is
        # the agent's, TURN's login for one, is nobody else's.
        self._environment = {
            **{k: v for k, v in environment.items() if not k.startswith(("XDG_", "KBWG_"))},
            "HOME": str(home),
            "KEYBASE_NO_AUTO_FORK": "1",
        }

    def service(self) -> Command:
        """Return the service's command."""
        return self._command("keybase", [self._program, "--home", str(self._home), "service"])

    def kbfs(self) -> Command:
        """Return the command of KBFS, which needs no FUSE to answer `keybase fs`."""
        beside = Path(self._program).with_name("kbfsfuse") if "/" in self._program else "kbfsfuse"
        return self._command("kbfsfuse", [str(beside), "-mount-type=none"])

    async def wait_until_ready(self) -> None:
        """Wait for the service; raise `SupervisorError` if it does not answer."""
        code, said = await self._run("ctl", "wait", "--duration", f"{WAIT_SECONDS}s")
        if code:
            raise SupervisorError(f"the Keybase service does not answer: {said}")

    async def log_in(self, wanted: Wanted | None, paper_key: str | None) -> LoggedIn:
        """Bring about the wanted login, for as long as it takes; harmless when it is there.

        Raises:
            LoginError: trying again is pointless; says what to change.
        """
        backoff = Backoff()
        while True:
            try:
                await self.wait_until_ready()
                present = await self._who()
                step = next_step(present, wanted)
                if not isinstance(step, Nothing):
                    await self._take(step, paper_key)
                    present = await self._who()
                if present is not None:
                    return present
            except SupervisorError as error:
                if isinstance(error, LoginError):
                    raise
                _log.warning("no login yet", extra={"error": str(error)})
            await asyncio.sleep(backoff.pause_after(0))

    async def _take(self, step: Oneshot | Provision, paper_key: str | None) -> None:
        if paper_key is None:
            raise LoginError(
                "KBWG_KEYBASE_USERNAME needs KBWG_KEYBASE_PAPERKEY or KBWG_KEYBASE_PAPERKEY_FILE"
            )
        match step:
            case Oneshot(username=username):
                argv = ["oneshot", "-u", username]
            case Provision(username=username, device=device):
                argv = ["login", "--devicename", device, username]
        # By standard input: an argument can be seen by every process, a variable by ours.
        code, said = await self._run(*argv, stdin=paper_key)
        if code == 0:
            _announce(step)
            return
        refused = refusal(step, said)
        if refused is not None:
            raise LoginError(refused)
        raise SupervisorError(f"login failed: {plainly(said)}")

    async def _who(self) -> LoggedIn | None:
        code, said = await self._run("whoami", "--json")
        try:
            who = json.loads(said[said.index("{") :]) if code == 0 else None
            if who is None or not who["loggedIn"]:
                return None
            return LoggedIn(str(who["user"]["username"]), str(who["deviceName"]))
        except (ValueError, KeyError, TypeError) as error:
            raise SupervisorError(f"whoami says what makes no sense: {said[:200]}") from error

    async def _run(self, *argv: str, stdin: str | None = None) -> tuple[int, str]:
        """Run one command; returns its status and what it printed, errors included."""
        command = self._command("keybase", [self._program, "--home", str(self._home), *argv])
        pipe = asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL
        process = await spawn(command, stdin=pipe)
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                given = f"{stdin}\n".encode() if stdin is not None else None
                printed, _ = await process.communicate(given)
        except TimeoutError:
            raise SupervisorError(f"keybase {argv[0]} takes too long") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, printed.decode("utf-8", "replace").strip()

    def _command(self, name: str, argv: list[str]) -> Command:
        own = self._credentials
        user = (own.uid, own.gid) if own.change else None
        return Command(name, argv, self._environment, user=user, prepare=confine)


def _announce(step: Step) -> None:
    match step:
        case Provision(device=device):
            _log.info("named device made", extra={"device": device})
            _log.warning("keep the state volume: a device name that is lost is burnt for ever")
        case Oneshot():
            _log.info("logged in for as long as the service runs")
        case Nothing():
            pass
