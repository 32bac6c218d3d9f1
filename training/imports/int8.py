"""Add the int8 graph to an imported package, if it answers like the fp32 graph."""

from collections.abc import Callable, Sequence
from pathlib import Path

from service.errors import ModelPackageError
from service.inference.runtime.session import Session
from service.package.package import ModelPackage
from service.package.session_checks import check_fit
from training.data.item import Item
from training.data.samples import sample
from training.export.add_graph import put_graph
from training.export.quantize import Quantization, agreement, quantize
from training.export.writer import FILES, copy_metadata

LEAST_AGREEMENT = 0.9
"""A graph that names another class for more views than this leaves is not a rounded form of it."""
AGREEMENT_IMAGES = 100
SEED = 0


def add_int8(
    folder: Path,
    items: Sequence[Item],
    log: Callable[[str], None] = print,
    how: Quantization | None = None,
    *,
    held_out: Sequence[Item] = (),
    least: float = LEAST_AGREEMENT,
) -> bool:
    """Quantize the fp32 graph on `items`; returns whether the package has the int8 graph now.

    Its answers are compared with those of fp32 on `held_out`, by default on `items` too.

    It is left out, and `log` says why, where it cannot be made or where it names other classes than
    fp32 for more views than `least` leaves. Not every network stands 8 bits.
    """
    how, package = how or Quantization(), ModelPackage.load(folder)
    manifest, fp32 = package.manifest, package.path("fp32")
    path = folder / FILES["int8"]
    new = path.with_name(f".{path.name}.new")
    try:
        seen = sample(items, how.images, SEED)
        try:
            quantize(fp32, new, seen, manifest.input, how, manifest.graph)
            copy_metadata(fp32, new)
            check_fit(Session.open(new, provider="cpu"), manifest, exact=False)
        except ModelPackageError as error:
            log(f"int8 is left out: {error}")
            return False
        except Exception as error:  # the quantizer's own exceptions have no common base
            log(f"int8 is left out: the graph cannot be quantized ({error})")
            return False
        checked = sample(held_out or items, AGREEMENT_IMAGES, SEED + 1)
        measured = agreement(fp32, new, checked, manifest.input, manifest.graph)
        if measured["top1_agreement"] < least:
            log(
                f"int8 is left out: it names the class of fp32 for {measured['top1_agreement']:.1%}"
                f" of {measured['views']} views; at least {least:.0%} are needed"
            )
            return False
        facts = {**how.to_json(), "images": len(seen), "against_fp32": measured}
        put_graph(package, "int8", new, facts, log)
    finally:
        new.unlink(missing_ok=True)
    log(
        f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB; the same class as fp32 in "
        f"{measured['top1_agreement']:.1%} of {measured['views']} views"
    )
    return True
