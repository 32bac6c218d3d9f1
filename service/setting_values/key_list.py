"""Read API keys: from a variable, or from a file with one key in each line.

An HTTP header carries the key, so it is printable ASCII without spaces. A list with anything else
is refused, because a key that no request can carry would lock its holder out. No message shows a
key.
"""

import os
import re
import stat
from pathlib import Path

MAX_BYTES = 1024 * 1024
_LINE_END = re.compile(r"\r\n|\r|\n")
_BYTE_ORDER_MARK = "\ufeff"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def split_keys(text: str) -> tuple[str, ...]:
    """The keys of a variable, with commas between them.

    Raises:
        ValueError: there is no key, or one that no request can carry.
    """
    text = text.removeprefix(_BYTE_ORDER_MARK).strip()
    _check_quotes(text, "the value")  # docker --env-file keeps them
    parts = [part.strip() for part in text.split(",")]
    keys = tuple(part for part in parts if part)
    if not keys:
        raise ValueError("it is set, but holds no key; unset it to do without keys")
    for number, key in enumerate(keys, 1):
        check_key(key, f"key {number}")
    return keys


def read_keys(path: Path) -> tuple[str, ...]:
    """The keys of a file, one in each line. Empty lines and lines that begin with `# ` are skipped.

    The file is UTF-8, with or without a byte order mark, with the line ends of any system.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no key, or one that no request can carry; the message names the line.
    """
    data = _read(path)
    if data.startswith(_UTF_16) or b"\0" in data:
        raise ValueError(f"{path} is not UTF-8 text (UTF-16?): save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}, is not UTF-8 text: save it as UTF-8") from None
    keys: list[str] = []
    for number, line in enumerate(_LINE_END.split(text), 1):
        key = line.strip(" \t")
        if key and key != "#" and not key.startswith("# "):
            check_key(key, f"{path}, line {number}")
            keys.append(key)
    if not keys:
        raise ValueError(f"{path} holds no key")
    return tuple(keys)


def check_key(key: str, where: str) -> None:
    """Refuse a key that a header cannot carry, or that is really a part of a misread list.

    Raises:
        ValueError: such a key; the message begins with `where`.
    """
    if any(character.isspace() for character in key):
        raise ValueError(f"{where}: a key holds no space and no line break")
    if not all("!" <= character <= "~" for character in key):
        raise ValueError(f"{where}: a key is printable ASCII; headers carry nothing else reliably")
    if key.startswith("#"):
        raise ValueError(f"{where}: a key begins with no '#'; a comment has a space after it")
    _check_quotes(key, where)


def _check_quotes(text: str, where: str) -> None:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        raise ValueError(f"{where} is in quotes, which would be part of the key: leave them out")


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} is not a regular file; every worker has to read it")
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path} is over {MAX_BYTES} bytes")
    return data
