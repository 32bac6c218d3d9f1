"""Parse options from the command line. An error lists the allowed values."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, get_args

from service.bench.latency.mlperf import SCENARIOS, Scenario
from service.bench.load.arrivals import Arrivals
from service.console.nearest import with_hint
from service.errors import UsageError
from service.inference.runtime import providers
from service.inference.runtime.providers import Provider
from service.package.manifest import Mode, Precision
from service.package.modes import common_modes, without_adaptive
from service.package.package import ModelPackage, fast_precision

Word = TypeVar("Word", bound=str)


COMPARED: tuple[Mode, ...] = ("none", "five_crop", "dense")


def modes(
    text: str,
    folder: Path,
    precisions: Sequence[Precision],
    log: Callable[[str], None] = lambda _: None,
) -> tuple[Mode, ...]:
    """Comma-separated TTA modes; `auto` means the usual ones and the package's default mode, those
    of them that every one of `precisions` can answer.

    `log` gets a message if the package has no `adaptive` because it was not calibrated.

    Raises:
        UsageError: another word.
        ModelPackageError: no package in `folder`.
    """
    if text != "auto":
        return tuple(_word(part, get_args(Mode), "mode") for part in _parts(text))
    manifest = ModelPackage.load(folder).manifest
    usual: tuple[Mode, ...] = (*COMPARED, manifest.default_mode)
    answered = common_modes(manifest, precisions, usual)
    if message := without_adaptive(manifest, precisions, answered):
        log(message)
    return answered


def precisions(text: str, folder: Path, provider: Provider) -> tuple[Precision, ...]:
    """Comma-separated precisions; `auto` is fp32 and the fastest one of the provider.

    Raises:
        UsageError: another word.
        ModelPackageError: no package in `folder`.
    """
    if text != "auto":
        return tuple(_word(part, get_args(Precision), "precision") for part in _parts(text))
    fast = fast_precision(gpu=providers.choose(provider) != "cpu")
    package = ModelPackage.load(folder)
    wanted: tuple[Precision, ...] = ("fp32", fast)
    return tuple(p for p in wanted if package.offers(p)) or package.precisions


def scenarios(text: str) -> tuple[Scenario, ...]:
    """Comma-separated MLPerf scenarios. Raises UsageError for another word."""
    return tuple(_word(part, SCENARIOS, "scenario") for part in _parts(text))


def batches(text: str) -> tuple[int, ...]:
    """Comma-separated batch sizes in images. Raises UsageError unless whole and positive."""
    parts = _parts(text)
    if not all(part.isdigit() and int(part) for part in parts):
        raise UsageError(f"batch sizes are whole numbers such as 1,8, but got {text!r}")
    return tuple(dict.fromkeys(int(part) for part in parts))


def arrivals(text: str) -> Arrivals:
    """How requests arrive. Raises UsageError for another word."""
    return _word(text, get_args(Arrivals), "kind of arrivals")


def rates(text: str) -> tuple[float, ...]:
    """Comma-separated requests per second. Raises UsageError unless positive numbers."""
    try:
        found = tuple(float(part) for part in _parts(text))
    except ValueError:
        found = (0.0,)
    if not all(0 < rate < float("inf") for rate in found):
        raise UsageError(f"rates are positive numbers such as 10,20.5, but got {text!r}")
    return found


def headers(lines: list[str]) -> dict[str, str]:
    """`Name: value` lines. Raises UsageError for a line without a colon."""
    split = [line.partition(":") for line in lines]
    for name, colon, _ in split:
        if not (colon and name.strip()):
            raise UsageError("a header is NAME:VALUE, but got one without a name or a colon")
    return {name.strip(): value.strip() for name, _, value in split}


def mix(text: str) -> dict[Mode, float]:
    """`none=0.8,five_crop=0.2` to shares that sum to 1; a single mode has all of it.

    Raises:
        UsageError: a share that is not a positive number, or another mode.
    """
    shares: dict[Mode, float] = {}
    for part in _parts(text):
        name, _, share = part.partition("=")
        try:
            value = float(share or 1)
        except ValueError:
            value = 0.0
        if not value > 0:
            raise UsageError(f"a mix looks like none=0.8,five_crop=0.2, but got {part!r}")
        shares[_word(name, get_args(Mode), "mode")] = value
    total = sum(shares.values())
    return {mode: share / total for mode, share in shares.items()}


def _parts(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise UsageError(f"expected words separated by commas, but got {text!r}")
    return list(dict.fromkeys(parts))


def _word(text: str, known: tuple[Word, ...], what: str) -> Word:
    for word in known:
        if text == word:
            return word
    message = f"{text[:80]!r} is not a {what}; there are: {', '.join(known)}"
    raise UsageError(with_hint(message, text, known))
