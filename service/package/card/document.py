"""``MODEL_CARD.md``: the manifest as a document for people."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from service.console.markdown import code, plain, table
from service.package.card import tables
from service.package.manifest import InputSize, Manifest
from service.package.package import ModelPackage
from service.package.task_rules import TASK_RULES
from service.replacing import replacing_file

CARD = "MODEL_CARD.md"
OLD_CARD = "MODEL_CARD.old.md"


def write_model_card(package_folder: Path) -> Path:
    """Render the card from the package's manifest, with its metrics and calibration if it has them.

    Raises:
        ModelPackageError: no valid package.
    """
    path = package_folder / CARD
    text = render(ModelPackage.load(package_folder).manifest)
    with replacing_file(path) as stream:
        stream.write(text.encode())
    return path


def keep_edited(package: ModelPackage, log: Callable[[str], None]) -> None:
    """Keep the text of a card that says something else than its manifest: it may be a user's."""
    path = package.folder / CARD
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return
    if text != render(package.manifest).encode():
        with replacing_file(package.folder / OLD_CARD) as stream:
            stream.write(text)
        log(f"{CARD} was not written from this manifest: its old text is in {OLD_CARD}")


def render(manifest: Manifest) -> str:
    """The card as Markdown."""
    parts = [
        _head(manifest),
        _labels(manifest),
        _files(manifest),
        _training(manifest),
        _imported(manifest),
        _checks(manifest.provenance),
        tables.metrics(manifest),
        tables.label_metrics(manifest),
        tables.calibration(manifest),
        tables.unknown(manifest),
        _limits(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(manifest: Manifest) -> str:
    name = manifest.architecture.get("name", "network")
    parameters = manifest.architecture.get("parameters")
    size = f" with {parameters / 1e6:.1f} million parameters" if parameters else ""
    sizes = manifest.input
    kind = TASK_RULES[manifest.task].card_kind
    return (
        f"# {manifest.name}, version {manifest.version}\n\n"
        f"An image {kind} of {len(manifest.labels)} classes: {plain(name)}{size}, "
        f"{_origin(manifest.provenance)} by Quincunx.\n\n"
        f"{_resized(sizes)}; crops are {sizes.crop_px}×{sizes.crop_px} px. "
        f"{_decoding(sizes)}The graph takes "
        "uint8 RGB pixels and normalizes them itself "
        f"(mean {_numbers(manifest.normalization.mean)}, std "
        f"{_numbers(manifest.normalization.std)}, from: {plain(manifest.normalization.source)})."
    )


def _origin(provenance: dict[str, Any]) -> str:
    if provenance.get("weights_from"):
        return "exported"
    imported = provenance.get("imported")
    return f"imported from {code(imported['source'])}" if imported else "trained and exported"


def _labels(manifest: Manifest) -> str:
    shown = manifest.labels if len(manifest.labels) <= 50 else manifest.labels[:20]
    rows = [(label.index, code(label.id), label.name) for label in shown]
    more = len(manifest.labels) - len(shown)
    rest = f"\n\nand {more} more: see `manifest.json`." if more else ""
    return f"## Classes\n\n{table(('index', 'id', 'name'), rows)}{rest}"


def _files(manifest: Manifest) -> str:
    rows = [(code(f.file), f.precision, f"{f.size_bytes / 2**20:.1f} MiB") for f in manifest.files]
    return f"## Files\n\n{table(('file', 'precision', 'size'), rows)}"


def _began(before: dict[str, Any]) -> str:
    """The origin of the first weights: a package or a run, or a network of another library."""
    origin = before["recipe"]["summary"] if "recipe" in before else before["weights"]
    return f"Started from the weights of {code(before['name'])}: {plain(origin)}.\n\n"


def _training(manifest: Manifest) -> str:
    provenance = manifest.provenance
    recipe, data = provenance.get("recipe"), provenance.get("dataset")
    if not recipe or not data:
        return ""
    if outside := provenance.get("weights_from"):
        return _outside(manifest, outside, data)
    last = provenance.get("history", [{}])[-1]
    before = provenance.get("started_from")
    began = _began(before) if before else ""
    unfinished = "" if provenance.get("finished", True) else " **The run was not finished.**"
    return (
        f"## Training\n\n{began}{plain(recipe['summary'])}.{unfinished}\n\n"
        f"{provenance['epochs']} epochs in {provenance['training_seconds'] / 60:.0f} minutes "
        f"({provenance['training_precision']}), seed {provenance['seed']}, on "
        f"{data['training_images']} images. {data['calibration_images']} more images were held out "
        "of training. After the last epoch, accuracy on them was "
        f"{last.get('calibration_accuracy', float('nan')):.4f}.{_skipped(data)} The whole recipe "
        f"is in `manifest.json`.{_averaged(provenance.get('averaged'))}"
        f"{_other_sizes(manifest, recipe)}"
        f"{_served_statistics(provenance.get('statistics_images'))}"
    )


def _outside(manifest: Manifest, weights: dict[str, Any], data: dict[str, Any]) -> str:
    """The training part of a package whose weights another program trained."""
    return (
        f"## Training\n\n{plain(weights['origin'])}\n\n"
        f"The weights were read from {code(weights['file'])} (sha256 {weights['sha256'][:12]}…). "
        f"{data['calibration_images']} images of the training set were held out of training; "
        f"{data['training_images']} were left.{_skipped(data)}"
        f"{_served_statistics(manifest.provenance.get('statistics_images'))}"
    )


def _imported(manifest: Manifest) -> str:
    """Where an imported model came from, and how it compares with its source."""
    imported = manifest.provenance.get("imported")
    if not imported:
        return ""
    graph, parity = manifest.graph, imported["parity"]
    sizes = f"Images of any size from {graph.smallest_px} px run in one pass."
    if graph.sizes != "dynamic":
        pairs = ", ".join(f"{width}×{height}" for height, width in graph.sizes)
        sizes = f"It takes images of {pairs} px only."
    worst = max(parity["largest_relative_difference"].values())
    shapes = ", ".join(parity["largest_relative_difference"])
    cut = parity["windows"]
    windows = "" if cut is None else f" Windows agree with windows cut by hand to {cut:.0e}."
    notes = "".join(f"\n- {plain(note)}" for note in imported["notes"])
    reason = f" Reason: {plain(imported['reason'])}." if imported.get("reason") else ""
    return (
        f"## Import\n\nSource: {code(imported['source'])}. Kind of graph: `{graph.kind}`. {sizes}"
        f"{reason}\n\nThe package and its source agree to {worst:.0e} of the largest logit, at "
        f"{shapes} px (limit {parity['tolerance']:.0e}).{windows}"
        + (f"\n\nChanged at the import:\n{notes}" if notes else "")
    )


def _resized(sizes: InputSize) -> str:
    if sizes.fit == "squash":
        side = f"{sizes.resize_px}×{sizes.resize_px} px"
        return f"Images of every shape are squashed to {side} ({sizes.interpolation})"
    return (
        f"Images are resized so that the shorter side is {sizes.resize_px} px "
        f"({sizes.interpolation})"
    )


def _decoding(sizes: InputSize) -> str:
    if sizes.decode == "exact":
        return ""
    return (
        "A JPEG much larger than that is scaled down while it is decoded, to not less than "
        f"{sizes.decode_factor} times the size. "
    )


def _skipped(data: dict[str, Any]) -> str:
    count = data.get("skipped_files")
    return f" {count} files of the data set were not images and were skipped." if count else ""


def _other_sizes(manifest: Manifest, recipe: dict[str, Any]) -> str:
    own, served = (recipe.get("crop_px"), recipe.get("resize_px")), manifest.input
    if own in ((None, None), (served.crop_px, served.resize_px)):
        return ""
    return (
        f"\n\nThe recipe has crops of {own[0]} px out of {own[1]} px. The served sizes were chosen "
        "at the export."
    )


def _served_statistics(images: int | None) -> str:
    if not images:
        return ""
    return (
        "\n\nAt the export, the statistics of batch normalization were measured again on crops of "
        f"{images} training images, cut as they are served."
    )


def _averaged(facts: dict[str, Any] | None) -> str:
    if not facts:
        return ""
    names = " and ".join(f"{code(run['name'])} ({run['epochs']} epochs)" for run in facts["runs"])
    return (
        f"\n\nThe weights are the mean of the runs {names}. The statistics of batch normalization "
        f"were measured again on {facts['statistics_images']} training images. Accuracy on the "
        f"held-out images is {facts['calibration_accuracy']:.4f}."
    )


def _checks(provenance: dict[str, Any]) -> str:
    lines: list[str] = []
    if parity := provenance.get("parity"):
        worst = max(parity["largest_relative_difference"].values())
        shapes = ", ".join(parity["largest_relative_difference"])
        lines.append(
            f"- PyTorch and ONNX Runtime agree to {worst:.0e} of the largest logit, on real images "
            f"of {shapes} px (limit {parity['tolerance']:.0e})."
        )
    if stored := provenance.get("weights_stored"):
        worst = max(stored["largest_relative_difference"].values())
        lines.append(
            f"- Weights of `model.onnx` are stored as {stored['as']}, and the network computes in "
            f"float32. That changes outputs by up to {worst:.0e} of the largest logit."
        )
    if int8 := provenance.get("int8"):
        seen = int8["against_fp32"]
        lines.append(
            f"- int8 and fp32 name the same class for {seen['top1_agreement']:.1%} of "
            f"{seen['views']} views of the calibration split ({int8['method']} over "
            f"{int8['images']} training images)."
        )
    if fp16 := provenance.get("fp16"):
        lines.append(
            f"- fp16 differs from fp32 by up to {fp16['largest_relative_difference']:.0e} of the "
            "largest logit."
        )
    return "## Checked at export\n\n" + "\n".join(lines) if lines else ""


def _limits(manifest: Manifest) -> str:
    imagenet = any(
        label.id.startswith("n0") and label.id[1:].isdigit() for label in manifest.labels
    )
    origin = (
        "The weights were trained on photos of ImageNet. Its terms allow non-commercial research "
        "and education. No photo is part of this package."
        if imagenet
        else "The terms of the training images also apply to the weights. No image is part of this "
        "package."
    )
    answers = TASK_RULES[manifest.task].card_answers
    beside = (
        " The unknown score says which images are probably something else."
        if manifest.unknown
        else ""
    )
    return (
        "## Licence and limits\n\n"
        f"{origin} The code that made the package is under Apache-2.0.\n\n"
        f"The model knows {len(manifest.labels)} classes and {answers}.{beside}"
    )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)
