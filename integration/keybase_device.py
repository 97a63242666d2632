"""The Keybase device of a node, as the programs in it find it."""

from collections.abc import Mapping
from pathlib import Path

from .own_network import required


def keybase_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the variables by which programs beside an agent find its Keybase device, if it has one."""
    device = environment.get("KEYBASE_SIMULATOR_DEVICE")
    if not device:
        return {}
    programs = Path(__file__).parent / "keybase_simulator" / "bin"
    return {
        "KEYBASE_SOCKET_FILE": str(
            Path(required(environment, "SIMULATOR_ROOT"), device, "keybased.sock")
        ),
        "KEYBASE_ALLOW_ROOT": "1",
        "KBWG_KEYBASE": str(programs / "keybase"),
    }
