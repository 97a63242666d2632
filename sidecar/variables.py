"""Variables of the environment that mean nothing to us, and were probably meant to."""

from collections.abc import Iterable
from difflib import get_close_matches

from .settings import ENV_PREFIX, Settings


def unknown_variables(names: Iterable[str]) -> dict[str, str | None]:
    """Return those of ours by their prefix that there are not, each with the one it resembles.

    A typing error would go unnoticed otherwise: a host without its relay, say, until it needs one.

    Args:
        names: all that the environment names.
    """
    known = {ENV_PREFIX + field.upper() for field in Settings.model_fields}
    strangers = {name for name in names if name.startswith(ENV_PREFIX)} - known
    return {
        name: next(iter(get_close_matches(name, sorted(known), n=1)), None)
        for name in sorted(strangers)
    }
