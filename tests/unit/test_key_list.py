"""Keys as editors, Kubernetes and Docker save them; a list that locks somebody out is named."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.http.key_file import INTERVAL_S, KeyFile
from service.errors import UsageError
from service.setting_values.key_list import read_keys, split_keys
from service.settings import Settings

KEYS = ("first-key", "c2Vjb25k+/=")
KEY = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1).filter(
    lambda key: key[0] not in "#\"'"
)


@pytest.mark.parametrize(
    "text",
    [
        "first-key\nc2Vjb25k+/=",
        "first-key\nc2Vjb25k+/=\n",
        "\ufefffirst-key\r\nc2Vjb25k+/=\r\n",
        "first-key\rc2Vjb25k+/=\r",
        "\n\n  first-key \t\n\n\nc2Vjb25k+/=\n\n",
        "# for the web shop\nfirst-key\n#\n  # for the app, till May\nc2Vjb25k+/=\n",
    ],
)
def test_a_file_as_any_editor_saves_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_bytes(text.encode())
    assert read_keys(file) == KEYS


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("first\nsecond".encode("utf-16"), "is not UTF-8 text .UTF-16"),
        ("first\n".encode("utf-16-le"), "is not UTF-8 text .UTF-16"),
        ("first\nschl\xfcssel".encode("latin-1"), "line 2, is not UTF-8 text"),
        ("first\nschlüssel".encode(), "line 2: a key is printable ASCII"),
        (b"first\nmy key", "line 2: a key holds no space"),
        (b"first\n\n#second", "line 3: a key begins with no '#'"),
        (b"'first'", "line 1 is in quotes"),
        (b'"first"', "line 1 is in quotes"),
        (b"first\x1b[0m", "line 1: a key is printable ASCII"),
        (b"", "holds no key"),
        (b"\xef\xbb\xbf\r\n\r\n", "holds no key"),
        (b"# nobody\n", "holds no key"),
        (b"k" * 2_000_000, "is over 1048576 bytes"),
    ],
)
def test_a_file_that_would_lock_somebody_out_is_named(
    tmp_path: Path, data: bytes, message: str
) -> None:
    file = tmp_path / "keys"
    file.write_bytes(data)
    settings = Settings.from_environment({"QUINCUNX_API_KEYS_FILE": str(file)})
    with pytest.raises(UsageError, match=message) as caught:
        settings.keys()
    assert "QUINCUNX_API_KEYS_FILE" in str(caught.value)
    assert "first" not in str(caught.value)  # no key in any log


def test_what_cannot_be_read_twice_is_no_file_of_keys(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a regular file"):
        read_keys(Path(os.devnull))
    with pytest.raises(OSError, match="directory"):
        read_keys(tmp_path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("first,my key", "key 2: a key holds no space"),
        ("first\nsecond", "key 1: a key holds no space and no line break"),
        ("schlüssel", "key 1: a key is printable ASCII"),
        ('"first,second"', "the value is in quotes"),
        ("'first'", "the value is in quotes"),
        ("first,'second'", "key 2 is in quotes"),
    ],
)
def test_a_variable_of_keys_is_held_to_the_same(value: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Settings.from_environment({"QUINCUNX_API_KEYS": value})
    assert "first" not in str(caught.value)


def test_a_variable_may_end_in_a_line_break() -> None:
    assert split_keys("\ufefffirst, second,\r\n") == ("first", "second")


@given(st.lists(KEY, min_size=1), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_every_key_that_a_header_carries_comes_back(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], end: str, marked: bool
) -> None:
    file = tmp_path_factory.getbasetemp() / "generated-keys"
    text = end.join(keys) + end
    file.write_bytes((("\ufeff" if marked else "") + text).encode())
    assert read_keys(file) == tuple(keys)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        self.now_s += INTERVAL_S + 0.1
        return self.now_s


def test_a_mounted_secret_is_followed(tmp_path: Path) -> None:
    """keys -> ..data/keys, and ..data -> a folder that is exchanged for another."""
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "keys").write_text(f"key-{version}\n")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "keys").symlink_to("..data/keys")
    settings = Settings(api_keys=("always",), api_keys_file=tmp_path / "keys")
    assert settings.keys() == ("always", "key-1")
    file = KeyFile(settings, Clock())
    assert file.changed() is None
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert file.changed() == ("always", "key-2")
    assert file.changed() is None


def test_a_file_that_breaks_changes_nothing_and_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    path.write_text("first")
    file = KeyFile(Settings(api_keys_file=path), Clock())
    for broken in (b"", b"my key"):
        caplog.clear()
        path.write_bytes(broken)
        assert [file.changed(), file.changed()] == [None, None]
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "the keys stay as they were: QUINCUNX_API_KEYS_FILE" in caplog.text
    path.unlink()
    assert file.changed() is None
    path.write_text("second")
    assert file.changed() == ("second",)


def test_the_file_is_looked_at_once_a_second(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("first")
    now_s = [0.0]
    file = KeyFile(Settings(api_keys_file=path), lambda: now_s[0])
    path.write_text("another")
    assert file.changed() is None
    now_s[0] = INTERVAL_S
    assert file.changed() == ("another",)
