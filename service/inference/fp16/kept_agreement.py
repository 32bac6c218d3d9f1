"""Keep the result of a comparison beside the derived graph.

The worker processes of a server, and its later starts, share one derived graph. They share the
comparison too: the first process compares, and the others read the result.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from service.inference.fp16 import cache
from service.inference.fp16.agreement import Agreement


@dataclass(frozen=True)
class Compared:
    """The facts that a result depends on. A result is used only if all of them are the same."""

    fp32: str
    """sha256 of the graph."""
    fp16: str
    """sha256 of the graph."""
    crop_px: int
    task: str
    where: str
    """The provider and the device on which fp16 runs."""
    versions: str
    """Of the libraries that run the graphs."""
    method: int
    """See `service.inference.fp16.agreement.METHOD`."""

    def file(self) -> str:
        """The name of the cache entry."""
        return f"{hashlib.sha256(_json(asdict(self))).hexdigest()}.agreement"


def kept(
    what: Compared, folder: Path | None, compare: Callable[[], Agreement]
) -> tuple[Agreement, bool]:
    """The agreement, and whether it came from the cache.

    `compare` runs if the cache has no such result.

    Both good and bad results are kept, as measured. The limits are applied to them afterwards. An
    error of `compare` is raised, and not kept.
    """
    ran: list[Agreement] = []

    def make() -> bytes:
        ran.append(compare())
        return _json({"compared": asdict(what), "agreement": asdict(ran[0])})

    data = cache.cached(what.file(), folder, make, lambda data: _of(what, data) is not None)
    found = ran[0] if ran else _of(what, data)
    if found is None:  # `cached` returns what it has accepted, or what `make` has made
        raise ValueError(f"{what.file()} is not what it was")
    return found, not ran


def _of(what: Compared, data: bytes) -> Agreement | None:
    """The agreement that an entry holds; None if the entry is of another comparison."""
    try:
        content = json.loads(data)
        if content["compared"] != asdict(what):
            return None
        logits, probabilities = (content["agreement"][name] for name in ("logits", "probabilities"))
    except (ValueError, TypeError, KeyError):
        return None
    if not all(_is_difference(value) for value in (logits, probabilities)):
        return None
    return Agreement(logits, probabilities)


def _is_difference(value: object) -> bool:
    return isinstance(value, float) and (value >= 0 or math.isnan(value))


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True).encode()
