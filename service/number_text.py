"""Numbers in headers and options: one strict grammar, with bounds.

`int` and `float` accept more than a protocol should: signs, underscores, leading zeros, digits of
other scripts, and thousands of digits. Each of these has let a value pass a limit in some program.
"""

import math
import re

_WHOLE = re.compile(r"0|[1-9][0-9]{0,17}")
_DECIMAL = re.compile(
    r"-?(?:(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?"
)


def whole_number(text: str, low: int, high: int) -> int | None:
    """Read a whole number from `low` to `high`; None if `text` is anything else.

    Only the digits 0 to 9 count, without a sign, a leading zero or a separator.
    """
    if not _WHOLE.fullmatch(text):
        return None
    value = int(text)
    return value if low <= value <= high else None


def decimal_number(text: str) -> float | None:
    """Read a decimal number such as `0.95`, `.5` or `1e-5`; None if `text` is anything else."""
    if not _DECIMAL.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None  # 1e999
