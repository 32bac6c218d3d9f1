"""An old name of a variable works for one release, with a warning."""

import pytest

from service.errors import UsageError
from service.setting_values.renamed import RENAMED, rename_warnings, with_new_names
from service.settings import Settings, variable_of

OLD, NEW = "QUINCUNX_LONE_THREADS", "QUINCUNX_LATENCY_THREADS"


def test_the_old_name_sets_the_new_setting_and_is_warned_about() -> None:
    assert Settings.from_environment({OLD: "3"}).latency_threads == 3
    (warning,) = rename_warnings({OLD: "3", "PATH": "/bin"})
    assert OLD in warning
    assert NEW in warning


def test_the_new_name_gives_no_warning() -> None:
    assert Settings.from_environment({NEW: "3"}).latency_threads == 3
    assert rename_warnings({NEW: "3"}) == []


def test_both_names_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match=f"{OLD} is now called {NEW}, and both are set"):
        Settings.from_environment({OLD: "3", NEW: "3"})


def test_other_variables_stay_as_they_are() -> None:
    assert with_new_names({"A": "1", OLD: "2"}) == {"A": "1", NEW: "2"}


def test_every_new_name_is_a_setting_and_no_old_name_is() -> None:
    names = {variable_of(name) for name in Settings.model_fields}
    assert set(RENAMED.values()) <= names
    assert not set(RENAMED) & names
