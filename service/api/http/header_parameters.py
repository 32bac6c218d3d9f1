"""Header values with parameters: `form-data; name="image"; filename*=utf-8''%C3%A9.jpg`.

RFC 9110 defines the plain parameters, RFC 5987 and RFC 2231 those with a `*`. RFC 7578 forbids the
latter in form data, but many clients send them, and some send nothing else.
"""

import re
from urllib.parse import unquote

_PARAMETER = re.compile(r""";[ \t]*([^\s=;"]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;]*)""", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
CHARSETS = {
    "utf-8": "utf-8",
    "us-ascii": "ascii",
    "iso-8859-1": "latin-1",
    "windows-1252": "cp1252",
}
"""Names that clients use, and Python's names. No other codec is accepted."""


def parse_parameters(value: str) -> tuple[str, dict[str, str]]:
    """Split a header value: `("form-data", {"name": "image", ...})`, names in lower case.

    If a parameter is given twice, the first counts, as in browsers.
    """
    kind = value.partition(";")[0].strip().lower()
    parameters: dict[str, str] = {}
    for name, text in _PARAMETER.findall(value):
        parameters.setdefault(name.lower(), _unquoted(text.strip()))
    return kind, parameters


def extended(value: str) -> str:
    """Decode an RFC 5987 value: `utf-8''%C3%A9.jpg` -> `é.jpg`. Other text stays as it is."""
    charset, first, rest = value.partition("'")
    _, second, encoded = rest.partition("'")
    codec = CHARSETS.get(charset.strip().lower())
    if not (first and second and codec):
        return value
    return unquote(encoded, codec, "replace")


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text
