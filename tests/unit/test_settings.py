"""Settings come from QUINCUNX_* variables, and only from known ones."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from service.errors import UsageError
from service.settings import Settings


def test_defaults_need_no_environment() -> None:
    settings = Settings.from_environment({"PATH": "/bin"})
    assert settings == Settings()
    assert settings.keys() == ()


def test_values_are_read_and_split() -> None:
    settings = Settings.from_environment(
        {"QUINCUNX_PACKAGES": "a:b", "QUINCUNX_API_KEYS": "k1, k2", "QUINCUNX_MAX_PIXELS": "12"}
    )
    assert settings.packages == (Path("a"), Path("b"))
    assert settings.keys() == ("k1", "k2")
    assert settings.max_pixels == 12


def test_an_unknown_variable_names_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"QUINCUNX_MAX_PIXEL is no .*mean QUINCUNX_MAX_PIXELS"):
        Settings.from_environment({"QUINCUNX_MAX_PIXEL": "1"})


def test_an_unknown_variable_near_none_lists_them() -> None:
    with pytest.raises(UsageError, match="known: QUINCUNX_PACKAGES"):
        Settings.from_environment({"QUINCUNX_ZZZZZZZZZZZZZZZZ": "1"})


@pytest.mark.parametrize(
    ("name", "value"),
    [("MAX_PIXELS", "0"), ("PROVIDER", "abacus"), ("REQUEST_TIMEOUT_MS", "soon")],
)
def test_a_wrong_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"QUINCUNX_{name}='{value}'"):
        Settings.from_environment({f"QUINCUNX_{name}": value})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().max_pixels = 1  # type: ignore[misc]


def test_keys_come_from_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("one\ntwo\n\n")
    environment = {"QUINCUNX_API_KEYS": "zero", "QUINCUNX_API_KEYS_FILE": str(file)}
    assert Settings.from_environment(environment).keys() == ("zero", "one", "two")


def test_an_empty_or_missing_key_file_is_an_error_and_not_an_open_door(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    settings = Settings.from_environment({"QUINCUNX_API_KEYS_FILE": str(file)})
    with pytest.raises(UsageError, match="No such file"):
        settings.keys()
    file.write_text("\n")
    with pytest.raises(UsageError, match="holds no key"):
        settings.keys()
