"""Make names and messages from outside safe for the place where they are shown or stored.

A file name may hold any bytes, a class name any character. Each kind of output has a function:

    storable         tables, JSON and files: valid Unicode
    shown            terminals and log lines: valid Unicode on one line, without control characters
    json_text        JSON documents: every text in them storable
    in_json_log      a finished JSON document that may be read on a terminal
    in_html          HTML, in text and in quoted attributes
    reason_of        messages: what an error of a library says
    service.console.markdown Markdown
"""

import html
import json
import re
import unicodedata
from typing import Any, cast

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_NO_BYTE = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")
# Control characters, separators of lines, and the marks that reorder the text around them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def storable(text: str) -> str:
    r"""`text` as valid Unicode, so that UTF-8 can hold it.

    Python reads each invalid byte of a file name as a single surrogate (`surrogateescape`). Bytes
    that are UTF-8 become their characters. Every other byte becomes `\xNN`, in hexadecimal. Any
    other single surrogate becomes `\uNNNN`.
    """
    if not _SURROGATE.search(text):
        return text
    bytes_only = _NO_BYTE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return bytes_only.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown(text: object) -> str:
    r"""`text` for a terminal or a log line: storable, on one line, without control characters.

    A terminal would obey escape codes, and a line break in a name would look like another message.
    These characters become `\n`, `\xNN` or `\uNNNN`.
    """
    return _CONTROL.sub(_escaped, storable(str(text)))


def reason_of(error: BaseException, most: int = 200) -> str:
    """What an error of another library says, on one line of at most `most` characters.

    An error without a text is named by its type.
    """
    return " ".join(str(error).split())[:most] or type(error).__name__


def in_json_log(document: str) -> str:
    """A JSON document whose control characters are all written as JSON's own escapes."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", document)


def in_html(text: object) -> str:
    """`text` as HTML that renders as exactly this text, on one line."""
    return html.escape(shown(text))


def same_name(text: str) -> str:
    """`text` in the form in which names are compared: Unicode's composed form (NFC).

    macOS spells é as two characters in the names of files, and most other programs as one.
    """
    return unicodedata.normalize("NFC", text)


def json_text(value: object, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """`value` as a JSON document whose texts are storable.

    `ascii_only` writes other characters as JSON's own escapes.
    """
    return json.dumps(_storable_all(value), indent=indent, ensure_ascii=ascii_only)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return _SHORT.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _storable_all(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {
            storable(key) if isinstance(key, str) else key: _storable_all(one)
            for key, one in cast("dict[Any, Any]", value).items()
        }
    if isinstance(value, (list, tuple)):
        return [_storable_all(one) for one in cast("list[Any]", value)]
    return value
