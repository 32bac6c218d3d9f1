"""The value that was probably meant, for messages about unknown names."""

import difflib
from collections.abc import Iterable
from pathlib import Path

LEAST_LETTERS = 3
"""The first letters of a name are enough if there are at least this many and only one name begins
with them."""
MOST_NAMES = 10_000
"""Files of a folder that are compared with a name."""


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """``"did you mean 'five_crop'?"``, or an empty text if nothing known is close to `got`.

    Case does not matter, and neither does the kind of dash.
    """
    names: dict[str, str] = {}
    for name in known:
        names.setdefault(_plain(name), name)
    plain = _plain(got[:80])
    close = difflib.get_close_matches(plain, names, n=1, cutoff=0.6)
    if not close and len(plain) >= LEAST_LETTERS:
        begun = [name for name in names if name.startswith(plain)]
        close = begun if len(begun) == 1 else []
    return f"did you mean {names[close[0]]!r}?" if close else ""


def with_hint(message: str, got: str, known: Iterable[str]) -> str:
    """`message`, and at its end the known name that was probably meant, if there is one."""
    hint = did_you_mean(got, known)
    return f"{message}; {hint}" if hint else message


def with_path_hint(message: str, missing: Path) -> str:
    """`message` about a path that does not exist, with the name in its folder that is near."""
    names: list[str] = []
    try:
        for path in missing.parent.iterdir():
            names.append(path.name)
            if len(names) >= MOST_NAMES:
                break
    except OSError:
        return message
    near = difflib.get_close_matches(missing.name[:80], names, n=1, cutoff=0.75)
    if not near or near[0] == missing.name:  # something else than a file has the name
        return message
    return f"{message}; did you mean {str(missing.parent / near[0])!r}?"


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
