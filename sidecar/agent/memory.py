"""Memory that was needed once, given back to the machine."""

import ctypes
import logging
from typing import Final

_log = logging.getLogger(__name__)

_libc: Final = ctypes.CDLL(None)


def give_back() -> None:
    """Return freed memory to the kernel, where the C library can (glibc's malloc_trim(3)).

    Reading four hours of a large team's channel takes some ten megabytes for a moment. They are
    freed in between what stays, where glibc keeps them for ever unless it is told not to.
    """
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)
        _log.debug("memory given back")
