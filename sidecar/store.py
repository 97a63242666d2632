"""The state directory: what a restart needs while chat is down.

    STATE_DIR/INTERFACE/identity.json    key, device, port (0600)
    STATE_DIR/INTERFACE/directory.json   cached directory
    STATE_DIR/INTERFACE/kbwg.json        the team's configuration, as last read (0600: it may hold
                                         credentials)

Each file is replaced as a whole, so that a crash leaves the old one or the new one.
"""

import contextlib
import logging
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from .errors import IdentityError, StartError
from .identity import PrivateKey

_log = logging.getLogger(__name__)

MAX_FILE_BYTES = 16 * 2**20
"""A cache of 1,000 members takes about 1 MiB; anything much larger is not ours."""


def _key_from_base64(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return PrivateKey.from_base64(value)
    except IdentityError as error:
        raise ValueError(str(error)) from error


_StoredKey = Annotated[
    PrivateKey, BeforeValidator(_key_from_base64), PlainSerializer(PrivateKey.to_base64)
]


class Identity(BaseModel):
    """What makes this host the same host after a restart."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)

    private_key: _StoredKey = Field(repr=False)
    username: str
    device_id: str
    device: str
    listen_port: int = Field(ge=1, le=65535)


class Store:
    """The files of one interface. Reading never raises; a bad file is set aside."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self) -> None:
        """Make the directory, readable by us alone.

        Raises:
            StartError: it cannot be made or written.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self._directory / f".probe-{secrets.token_hex(4)}"
            probe.touch(mode=0o600)
            probe.unlink()
        except OSError as error:
            raise StartError(
                f"the state directory {self._directory} cannot be written ({error.strerror}): "
                "mount a volume there or set KBWG_STATE_DIR"
            ) from error

    def load_identity(self) -> Identity | None:
        """Read the identity; `None`: there is none, or it was unreadable."""
        text = self._read("identity.json")
        if text is None:
            return None
        try:
            return Identity.model_validate_json(text)
        except ValidationError:
            self._set_aside("identity.json")
            return None

    def save_identity(self, identity: Identity) -> None:
        """Replace the identity; raise `OSError` if the disk refuses."""
        self._write("identity.json", [identity.model_dump_json().encode()])

    def load_directory(self) -> bytes | None:
        """Read the cached directory, whose codec is `sidecar.cache`."""
        return self._read("directory.json")

    def save_directory(self, parts: Iterable[bytes]) -> None:
        """Replace the cached directory; raise `OSError` if the disk refuses."""
        self._write("directory.json", parts)

    def directory_age(self, wall: float) -> float | None:
        """Return the seconds since the cached directory was last true; `None`: there is none."""
        try:
            return max(0.0, wall - (self._directory / "directory.json").stat().st_mtime)
        except OSError:
            return None

    def confirm_directory(self) -> None:
        """Note that the cached directory is true now; one that cannot be written only seems older."""
        with contextlib.suppress(OSError):
            os.utime(self._directory / "directory.json")

    def load_team_config(self) -> bytes | None:
        """Read the team's configuration as it was last seen; `None`: never."""
        return self._read("kbwg.json")

    def save_team_config(self, content: bytes) -> None:
        """Replace it; raise `OSError` if the disk refuses."""
        self._write("kbwg.json", [content])

    def forget(self) -> None:
        """Remove what was kept: the next start is a first start."""
        for name in ("identity.json", "directory.json", "kbwg.json"):
            (self._directory / name).unlink(missing_ok=True)

    def _read(self, name: str) -> bytes | None:
        path = self._directory / name
        try:
            with path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("state file unreadable", extra={"file": name, "error": error.strerror})
            return None
        if len(content) > MAX_FILE_BYTES:
            self._set_aside(name)
            return None
        return content

    def _set_aside(self, name: str) -> None:
        path = self._directory / name
        _log.warning("state file invalid, set aside", extra={"file": name})
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(".invalid"))

    def _write(self, name: str, parts: Iterable[bytes]) -> None:
        path = self._directory / name
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
