"""`kbwg peers`: looks at the team's `peers.json` and changes it."""

import asyncio
import shlex
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer

from .agent.team_settings import path_of, settle
from .errors import KeybaseError, PeersFileError, StartError, TeamConfigError
from .keybase.client import KeybaseClient
from .keybase.editing import Written, conflict_copies, edit_file
from .peers_edit import DeviceName, Edit, listing, unlisting
from .peers_file import MeshRole, PeersFile, parse_peers_file
from .settings import Settings
from .team_config import TeamConfig, parse_team_config
from .terminal import printable

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Look at the team's peers.json, and change it.")

Name = Annotated[str, typer.Argument(metavar="USERNAME/DEVICE", help="As Keybase names them.")]


@app.command("list")
def list_() -> None:
    """Show who is listed, and what is wrong with the file."""
    settings = _settings()

    async def read(client: KeybaseClient) -> tuple[bytes | None, tuple[str, ...]]:
        path = _path(settings)
        return await client.read_file(path), await conflict_copies(client, path)

    content, conflicts = _with_keybase(settings, read)
    if content is None:
        typer.echo("there is no peers.json: every member of the team meshes with every other")
        return
    # The agent is this program, too, and draws no tables.
    from .peers_table import render

    parsed = _checked(content, settings)
    render(parsed)
    _warn([*parsed.warnings, *map(_about_copy, conflicts)])


@app.command()
def add(
    name: Name,
    ip: Annotated[str, typer.Argument(help="Overlay address.")],
    role: Annotated[
        MeshRole | None, typer.Option(help="What it may do; a new entry is a server.")
    ] = None,
) -> None:
    """List a device with its address, or change how it is listed."""
    settings = _settings()
    _write(settings, listing(_name(name), _address(ip, settings), role))


@app.command()
def remove(name: Name) -> None:
    """Take a device off the list."""
    _write(_settings(), unlisting(_name(name)))


@app.command()
def edit() -> None:
    """Open the file in $VISUAL or $EDITOR, check what comes back, and write it."""
    settings = _settings()
    before = _with_keybase(settings, lambda client: client.read_file(_path(settings)))
    after = _in_editor(before or b"[]\n", settings.editor)
    if after == before:
        typer.echo("nothing changed")
        return
    parsed = _checked(after, settings)
    _warn(parsed.warnings)

    def replace(current: bytes | None) -> bytes:
        if current not in (before, after):
            raise PeersFileError("somebody else has changed peers.json meanwhile: edit it again")
        return after

    _write(settings, replace)


def _write(settings: Settings, edit: Edit) -> None:
    written: Written = _with_keybase(
        settings, lambda client: edit_file(client, _path(settings), edit)
    )
    done = "written and read back" if written.tries else "it says so already"
    again = f", at try {written.tries}" if written.tries > 1 else ""
    typer.echo(f"peers.json: {done}{again}")
    parsed = _checked(written.content, settings)
    _warn([*parsed.warnings, *map(_about_copy, written.conflicts)])


def _with_keybase(settings: Settings, work: Callable[[KeybaseClient], Awaitable[T]]) -> T:
    async def go() -> T:
        client = KeybaseClient(program=settings.keybase, home=settings.keybase_home)
        try:
            return await work(client)
        finally:
            await client.close()

    try:
        return asyncio.run(go())
    except (KeybaseError, PeersFileError, TeamConfigError) as error:
        _fail(str(error))


def _in_editor(content: bytes, editor: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="kbwg-") as directory:
        file = Path(directory) / "peers.json"
        file.write_bytes(content)
        try:
            subprocess.run([*shlex.split(editor), str(file)], check=True)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            _fail(f"the editor {editor!r} failed, nothing is written: {error}")
        return file.read_bytes()


def _checked(content: bytes, settings: Settings) -> PeersFile:
    try:
        return parse_peers_file(content, settings.subnet)
    except PeersFileError as error:
        _fail(f"peers.json is invalid, hosts keep their last good copy: {error}")


def _name(text: str) -> DeviceName:
    try:
        return DeviceName.parse(text)
    except PeersFileError as error:
        _fail(str(error))


def _address(text: str, settings: Settings) -> IPv4Address:
    try:
        ip = IPv4Address(text)
    except ValueError:
        _fail(f"{text!r} is not an IPv4 address")
    subnet = settings.subnet
    if ip not in subnet or ip in (subnet.network_address, subnet.broadcast_address):
        _fail(f"{ip} is no host's address in {subnet}")
    return ip


def _about_copy(name: str) -> str:
    return f"two people wrote at once: {name} beside it holds what one of them wanted"


def _warn(texts: Iterable[str]) -> None:
    for text in texts:
        typer.echo(f"warning: {printable(text)}", err=True)


def _path(settings: Settings) -> str:
    return f"/keybase/team/{settings.team}/peers.json"


def _settings() -> Settings:
    try:
        host = Settings.from_environment()
        if host.has_subnet:
            return host
        return settle(host, _with_keybase(host, lambda client: _team_config(client, host.team)))
    except StartError as error:
        _fail(str(error))


async def _team_config(client: KeybaseClient, team: str) -> TeamConfig:
    content = await client.read_file(path_of(team))
    return TeamConfig() if content is None else parse_team_config(content)


def _fail(text: str) -> NoReturn:
    typer.echo("kbwg: " + "\n".join(printable(line) for line in text.splitlines()), err=True)
    raise typer.Exit(1)
