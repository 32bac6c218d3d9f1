"""Read `manifest.json`: strict JSON of a limited size, in which every value has the type of the
schema."""

import json
import math
from typing import Any

from pydantic import ValidationError

from service.errors import ModelPackageError
from service.package.manifest import Manifest
from service.package.manifest_checks import repeated

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 * 1024 * 1024


def parse(data: bytes, where: str) -> Manifest:
    """The manifest in `data`; `where` names the file in messages.

    Python's JSON reader alone would accept duplicate keys, NaN and numbers of any length.

    Raises:
        ModelPackageError: `data` is not a manifest; the message names the place.
    """
    try:
        text = data.decode("utf-8-sig")  # editors may write a byte order mark
        json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse,
            parse_float=_finite,
        )
        return Manifest.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        at = f" at {place}" if place else ""
        raise ModelPackageError(f"{where} is invalid{at}: {reason}") from error
    except RecursionError as error:
        raise ModelPackageError(f"{where} is invalid: it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ModelPackageError(f"{where} is invalid: it is not UTF-8 ({error.reason})") from error
    except ValueError as error:
        raise ModelPackageError(f"{where} is invalid: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = repeated(name for name, _ in pairs)[0]
        raise ValueError(f"the key {twice[:80]!r} is there more than once in one object")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:40]} is too large for a number")
    return value
