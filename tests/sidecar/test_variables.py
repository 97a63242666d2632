"""A variable that is mistyped is told, with what it resembles."""

from sidecar.settings import Settings
from sidecar.variables import unknown_variables


def test_what_resembles_none_is_told_as_it_is() -> None:
    assert unknown_variables(["KBWG_ZZZZ", "HOME", "KEYBASE_HOME"]) == {"KBWG_ZZZZ": None}


def test_a_mistyped_one_comes_with_what_was_meant() -> None:
    names = ["KBWG_TAEM", "KBWG_TEAM", "KBWG_TURN_SERVER", "KBWG_SUBNET"]

    assert unknown_variables(names) == {
        "KBWG_TAEM": "KBWG_TEAM",
        "KBWG_TURN_SERVER": "KBWG_TURN_SERVERS",
    }


def test_every_setting_is_known() -> None:
    assert unknown_variables([f"KBWG_{field.upper()}" for field in Settings.model_fields]) == {}
