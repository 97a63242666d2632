"""`kbwg`: run the agent, ask it, end it."""

import asyncio
import json
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlencode

import typer
import uvloop

from . import logs, peers_cli
from .agent import control
from .agent.leftovers import remove_all
from .agent.start import ALIAS_PREFIX, route_policy, start
from .errors import (
    BackendError,
    KeybaseError,
    LoginError,
    SidecarError,
    StartError,
    SupervisorError,
)
from .keybase.client import KeybaseClient
from .settings import Settings
from .status import Status
from .store import Store
from .variables import unknown_variables
from .wireguard.choose import choose_backend
from .wireguard.link import read_link
from .wireguard.route_table import RouteTable

_log = logging.getLogger(__name__)

EXIT_CANNOT_START = 2
"""The environment or the host must be changed first; a restart alone will not help."""

GOODBYE_SECONDS = 10.0
"""For an agent that was asked to end; after that what it made is removed for it."""

EXIT_FAILED = 1
"""Something went wrong while running; a restart may help."""

NETCHECK_TIMEOUT = 20.0
"""Seconds that an agent may take to look at its NAT: five, and more on a loaded machine."""

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="A WireGuard mesh of a Keybase team, without a coordination server.",
)
app.add_typer(peers_cli.app, name="peers")


@app.command()
def run() -> None:
    """Run the agent until SIGTERM or SIGINT. Everything is set by KBWG_* variables."""
    settings = _settings_of_a_start()
    try:
        uvloop.run(_run(settings))
    except StartError as error:
        _fail(str(error), error.exit_code)
    except (BackendError, KeybaseError) as error:
        _fail(str(error), EXIT_FAILED)


@app.command()
def supervise() -> None:
    """Run the agent beside Keybase, and again what of them dies: what the image starts."""
    settings = _settings_of_a_start()
    from .supervisor.command import supervise as run_all

    try:
        raise typer.Exit(run_all(settings))
    except StartError as error:
        _fail(str(error), error.exit_code)
    except LoginError as error:
        _fail(str(error), EXIT_CANNOT_START)
    except SupervisorError as error:
        _fail(str(error), EXIT_FAILED)


@app.command()
def status(
    *, as_json: Annotated[bool, typer.Option("--json", help="The whole status document.")] = False
) -> None:
    """Show this host and its peers."""
    document = _ask("GET", "/status")
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    from .table import render

    render(Status.model_validate(document), datetime.now(UTC))


@app.command()
def why(
    peer: Annotated[
        str, typer.Argument(help="Its user name, user/device, overlay address or key.")
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The whole document.")] = False,
) -> None:
    """Show every way to a peer that was tried, and why it is reached as it is."""
    document = _ask("GET", f"/why?{urlencode({'peer': peer})}")
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    from .why.document import Why
    from .why.table import render

    render(Why.model_validate(document))


@app.command()
def netcheck(
    *, as_json: Annotated[bool, typer.Option("--json", help="The whole document.")] = False
) -> None:
    """Show what this host's network lets through, and what would improve it."""
    from .netcheck.alone import check
    from .netcheck.document import of_status
    from .netcheck.table import render

    settings = _settings()
    path = control.socket_path(settings.runtime_dir, settings.interface)
    try:
        document = control.ask(path, "POST", "/netcheck", NETCHECK_TIMEOUT)
    except control.NoAgentError:
        found = asyncio.run(check(settings))
    except control.ControlError as error:
        _fail(str(error), EXIT_FAILED)
    else:
        off = settings.port_mapping == "off"
        found = of_status(Status.model_validate(document), port_mapping_off=off)
    if as_json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
        return
    render(found)


@app.command()
def down(
    *,
    forget: Annotated[
        bool, typer.Option("--forget", help="Also forget key, port and cached directory.")
    ] = False,
) -> None:
    """End the agent and remove the interface; also clean up after one that was killed."""
    settings = _settings()
    path = control.socket_path(settings.runtime_dir, settings.interface)
    try:
        control.ask(path, "POST", "/down")
        _wait_until_gone(path)
        # It says goodbye first, and then removes what is its own.
        asyncio.run(_wait_until_removed(settings.interface))
    except control.NoAgentError:
        pass  # what it left behind is removed below
    except control.ControlError as error:
        # It lives, and would make again whatever is taken from under it.
        _fail(f"{error}: end its process, then try again", EXIT_FAILED)
    try:
        asyncio.run(_remove(settings))
    except SidecarError as error:
        _fail(str(error), EXIT_FAILED)
    path.unlink(missing_ok=True)
    if forget:
        Store(settings.state_dir / settings.interface).forget()


def main() -> None:
    """Run the command line."""
    app()


async def _run(settings: Settings) -> None:
    # Four tenths of a second of CPU, which nobody but the agent needs to spend: not the supervisor, which
    # starts first, nor `kbwg status` as a health check.
    from .agent.agent import Agent

    store = Store(settings.state_dir / settings.interface)
    client = KeybaseClient(program=settings.keybase, home=settings.keybase_home)
    loop = asyncio.get_running_loop()
    current = asyncio.current_task()
    assert current is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, current.cancel)
    try:
        started = await start(settings, client, store)
        agent: Agent | None = None
        try:
            agent = Agent(started, client, store)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, agent.stop)
            _log.info(
                "started",
                extra={
                    "device": str(started.node),
                    "backend": started.backend.name,
                    "port": started.identity.listen_port,
                },
            )
            await agent.run()
        except BaseException as error:
            # What could not even begin leaves nothing. An agent that dies later, of whatever, leaves
            # its tunnels to the next one, which adopts them.
            begun = agent is not None and not isinstance(_innermost(error), StartError)
            if not started.adopted and not begun:
                await asyncio.shield(remove_all(started.backend, started.routes))
            raise
        if not agent.keeps_tunnel:
            await agent.say_goodbye()
            await remove_all(started.backend, started.routes)
        _log.info("stopped", extra={"tunnel": "kept" if agent.keeps_tunnel else "removed"})
    except asyncio.CancelledError:
        _log.info("stopped before it had started")
    except BaseExceptionGroup as errors:
        cause = _innermost(errors)
        if isinstance(cause, SidecarError):
            raise cause from None
        raise
    finally:
        await client.close()


async def _wait_until_removed(interface: str) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_SECONDS):
            while await read_link(interface) is not None:  # noqa: ASYNC110 - another process's
                await asyncio.sleep(0.1)


async def _remove(settings: Settings) -> None:
    """Remove an interface of ours that no agent drives."""
    backend = await choose_backend(settings.backend, settings.interface)
    found = await backend.read()
    if found is not None and not found.alias.startswith(f"{ALIAS_PREFIX}{settings.team} "):
        return
    known = Store(settings.state_dir / settings.interface).load_identity()
    ports = {known.listen_port if known else None, found.listen_port if found else None}
    tables = [RouteTable(route_policy(settings, port)) for port in ports if port]
    await remove_all(backend, *tables)


def _settings() -> Settings:
    try:
        return Settings.from_environment()
    except StartError as error:
        _fail(str(error), error.exit_code)


def _settings_of_a_start() -> Settings:
    """Read the environment, have log lines written as it says, and tell what it says in vain."""
    settings = _settings()
    logs.configure(settings.log_level, settings.log_format)
    names = tuple(os.environ)  # noqa: TID251 - names that no setting has
    for name, meant in unknown_variables(names).items():
        fields = {"variable": name} if meant is None else {"variable": name, "meant": meant}
        _log.warning("no such variable, it changes nothing", extra=fields)
    return settings


def _ask(method: str, target: str) -> object:
    settings = _settings()
    path = control.socket_path(settings.runtime_dir, settings.interface)
    try:
        return control.ask(path, method, target)
    except control.ControlError as error:
        _fail(str(error), EXIT_FAILED)


def _wait_until_gone(path: Path) -> None:
    for _ in range(100):
        if not path.exists():
            return
        time.sleep(0.1)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _fail(text: str, code: int) -> NoReturn:
    for line in text.splitlines():
        typer.echo(f"kbwg: {line}", err=True)
    raise typer.Exit(code)
