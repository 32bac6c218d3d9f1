"""The value that was probably meant, for messages about unknown names."""

import difflib
from collections.abc import Iterable


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """``"did you mean 'five_crop'?"``, or an empty text if nothing known is close to `got`.

    Case does not matter, and neither does the kind of dash.
    """
    names = {_plain(name): name for name in known}
    close = difflib.get_close_matches(_plain(got[:80]), names, n=1, cutoff=0.6)
    return f"did you mean {names[close[0]]!r}?" if close else ""


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
