"""True labels that are not text in their source: numbers, truth values, dates, lists."""

import datetime
import decimal
import math
from collections.abc import Sequence
from typing import Any, cast

from service.console.text import storable
from service.errors import DataError
from service.inference.tta.task import SEPARATOR
from service.package.labels import normalized
from service.tabular.text import SAVE_AS_UTF8


def checked_label(cell: str, where: str) -> str:
    """The label in a cell of a CSV: in NFC, without outer spaces.

    Raises:
        DataError: it holds bytes that are not UTF-8, so its class cannot be told. A path may.
    """
    label = normalized(cell)
    try:
        label.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{where}: the label {storable(label)!r} holds bytes that are not UTF-8; {SAVE_AS_UTF8}"
        ) from None
    return label


def label_text(value: Any, class_names: Sequence[str] | None = None) -> str:
    """A label as text; "" if there is none (None, NaN).

    A list becomes one text with `;` between its labels. Whole numbers lose their ".0". An integer
    becomes its name in `class_names` if these are given; -1 and other integers outside them
    mean that there is no label.

    Raises:
        DataError: a label in a list contains `;`.
    """
    if isinstance(value, list):
        return _several(cast("list[Any]", value), class_names)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape").strip()
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int) and class_names is not None:
        return class_names[value] if 0 <= value < len(class_names) else ""
    if isinstance(value, (float, decimal.Decimal)) and value == value // 1:
        return str(int(value))
    if isinstance(value, datetime.date):
        return value.isoformat()
    return str(value).strip()


def _several(found: list[Any], class_names: Sequence[str] | None) -> str:
    parts = [part for one in found if (part := label_text(one, class_names))]
    for part in parts:
        if SEPARATOR in part:
            raise DataError(
                f"the label {part!r} in a list contains {SEPARATOR!r}, which separates labels"
            )
    return SEPARATOR.join(parts)
