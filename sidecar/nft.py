"""nftables through libnftables, in this process.

A change takes 0.15 ms, where the `nft` program takes 22; so it is made between two datagrams, and
nothing can come in between. It also needs no capability but this process's own. The library is
part of every nftables installation.
"""

import ctypes
import json
from functools import cache
from typing import Any, Final

from .errors import NftError

_LIBRARY: Final = "libnftables.so.1"
_JSON_OUTPUT: Final = 1 << 4
"""NFT_CTX_OUTPUT_JSON of nftables/libnftables.h."""


def run(commands: str) -> None:
    """Make changes, all or none.

    Raises:
        NftError: there is no nftables here, no permission, or the changes make no sense.
    """
    _run(commands, 0)


def query(command: str) -> list[dict[str, Any]]:
    """Run a `list` command and return the objects that it shows (libnftables-json(5)).

    Raises:
        NftError: as `run`; also if what is to be listed does not exist.
    """
    try:
        answer = json.loads(_run(command, _JSON_OUTPUT))
        return [item for item in answer["nftables"] if isinstance(item, dict)]
    except (ValueError, KeyError, TypeError) as error:
        raise NftError(f"no JSON from libnftables: {error}") from error


def _run(commands: str, flags: int) -> str:
    library = _library()
    context = library.nft_ctx_new(0)
    if not context:
        raise NftError("libnftables has no context for us")
    try:
        library.nft_ctx_output_set_flags(context, flags)
        library.nft_ctx_buffer_output(context)
        library.nft_ctx_buffer_error(context)
        status = library.nft_run_cmd_from_buffer(context, commands.encode())
        if status != 0:
            text = library.nft_ctx_get_error_buffer(context).decode(errors="replace")
            raise NftError(text.strip().partition("\n")[0] or "nftables refused")
        output: bytes = library.nft_ctx_get_output_buffer(context)
        return output.decode(errors="replace")
    finally:
        library.nft_ctx_free(context)


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).restype = ctypes.c_char_p
            getattr(library, name).argtypes = [ctypes.c_void_p]
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
    except (OSError, AttributeError) as error:
        raise NftError(f"{_LIBRARY} is not installed: {error}") from error
    return library
