"""Settings come from QUINCUNX_* variables, and only from known ones."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.errors import UsageError
from service.setting_values.path_list import join_paths, split_paths
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
    with pytest.raises(UsageError, match=r"QUINCUNX_MAX_PIXEL is not .*mean QUINCUNX_MAX_PIXELS"):
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


def test_an_option_of_serve_is_named() -> None:
    with pytest.raises(
        UsageError, match="QUINCUNX_PORT is not a setting: use quincunx serve --port"
    ):
        Settings.from_environment({"QUINCUNX_PORT": "8080"})


def test_a_setting_in_small_letters_is_not_passed_over() -> None:
    with pytest.raises(UsageError, match=r"quincunx_Max_Pixels is not .*mean QUINCUNX_MAX_PIXELS"):
        Settings.from_environment({"quincunx_Max_Pixels": "1"})
    assert Settings.from_environment({"quincunx_release": "1"}) == Settings()


@pytest.mark.parametrize("name", ["API_KEYS", "ADMIN_KEYS"])
@pytest.mark.parametrize("value", ["", " ", ",", "\ufeff"])
def test_keys_that_are_set_and_empty_are_no_open_door(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"QUINCUNX_{name}: it is set, but holds no key"):
        Settings.from_environment({f"QUINCUNX_{name}": value})


def test_metrics_for_holders_of_a_key_need_a_key(tmp_path: Path) -> None:
    closed = {"QUINCUNX_METRICS_NEED_KEY": "1"}
    with pytest.raises(UsageError, match="METRICS_NEED_KEY is set, but no key is"):
        Settings.from_environment(closed)
    assert Settings.from_environment(closed | {"QUINCUNX_API_KEYS": "k"}).metrics_need_key


@pytest.mark.parametrize(
    ("name", "value"),
    [("REQUEST_TIMEOUT_MS", "99999999999999"), ("DRAIN_MS", "9e99"), ("THREADS", "1000000")],
)
def test_a_number_that_no_machine_can_keep_is_refused(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"QUINCUNX_{name}="):
        Settings.from_environment({f"QUINCUNX_{name}": value})


def test_paths_that_hold_the_separator_are_an_array() -> None:
    assert split_paths('["/a:b", "c d"]') == (Path("/a:b"), Path("c d"))
    assert split_paths(os.pathsep.join(["[x]", "b"])) == (Path("[x]"), Path("b"))
    for wrong in ('["a", "]', '["a", 3, "b"]', '["a\\u0000"]'):
        with pytest.raises(UsageError, match=r"QUINCUNX_PACKAGES=.*JSON array"):
            Settings.from_environment({"QUINCUNX_PACKAGES": wrong})


@given(st.lists(st.binary(min_size=1).filter(lambda name: b"\0" not in name), min_size=1))
def test_paths_of_any_bytes_come_back(names: list[bytes]) -> None:
    paths = tuple(Path(os.fsdecode(name)) for name in names)
    text = join_paths(paths)
    assert Settings.from_environment({"QUINCUNX_PACKAGES": text}).packages == paths
    text.encode("ascii")  # what every environment can hold


@pytest.mark.parametrize("name", ["graph_cache", "feedback_folder"])
def test_an_empty_folder_is_the_default_and_not_the_current_folder(name: str) -> None:
    settings = Settings.from_environment({f"QUINCUNX_{name.upper()}": ""})
    assert getattr(settings, name) is None
