"""A checkpoint becomes a model package: graphs, parity, int8, manifest, card."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import onnx
import torch
from torch import nn

from service.errors import DataError, ExportError
from service.package.card.document import write_model_card
from service.package.manifest import (
    Decode,
    Fit,
    Graph,
    InputSize,
    Label,
    Manifest,
    Normalization,
    OnnxFile,
)
from training.data.dataset import Split, readable, split
from training.data.labels import labels, shared_names
from training.data.samples import sample
from training.export.backbone import write_backbone
from training.export.fp16 import add_fp16
from training.export.graph import ServingGraph, to_onnx
from training.export.outside_weights import OutsideWeights
from training.export.parity import check_parity, compare, served_shapes, shapes, too_rough
from training.export.provenance import provenance_of
from training.export.quantize import Quantization, agreement, quantize
from training.export.writer import (
    FILES,
    add_metadata,
    check_replaceable,
    check_version,
    copy_metadata,
    describe,
    replacing,
    write_manifest,
)
from training.fit.schedule import fits
from training.network import architecture
from training.network.batch_statistics import remeasure, served_batches
from training.network.weights import round_to_fp16, store_fp16
from training.recipe import Recipe
from training.run import checkpoint
from training.run.checkpoint import Checkpoint
from training.surgery.embedding import add_embedding, embedding_channels

AGREEMENT_IMAGES = 200
RoughInt8 = Literal["refuse", "leave out", "keep"]
"""What to do where int8 does not answer like fp32: not every network stands 8 bits."""


@dataclass(frozen=True)
class Source:
    """The input of an export: a run's checkpoint and the images that it was trained on."""

    state: Checkpoint
    recipe: Recipe
    images: Split
    sizes: InputSize

    @property
    def normalization(self) -> Normalization:
        return Normalization.model_validate(self.state.facts["normalization"])

    def graph(self, weights: dict[str, torch.Tensor]) -> ServingGraph:
        """The network with `weights`, wrapped for serving."""
        network = cast(nn.Sequential, self.network(weights))
        return ServingGraph(network, self.normalization.mean, self.normalization.std)

    def network(self, weights: dict[str, torch.Tensor]) -> nn.Module:
        """The network as it was trained."""
        network = architecture.build(self.recipe.architecture, len(self.state.facts["classes"]))
        network.load_state_dict(weights)
        return network


def export_package(
    run: Path | OutsideWeights,
    out_folder: Path,
    data_folder: Path,
    *,
    int8: bool = True,
    rough_int8: RoughInt8 = "refuse",
    fp16: bool = False,
    version: str = "1",
    allow_unfinished: bool = False,
    sizes: InputSize | None = None,
    decode: Decode | None = None,
    fit: Fit | None = None,
    statistics_images: int | None = None,
    quantization: Quantization | None = None,
    overwrite: bool = False,
    images: Split | None = None,
    log: Callable[[str], None] = print,
) -> Path:
    """Export the checkpoint of a run's folder, or weights of another program, to `out_folder`.

    `out_folder` is replaced as a whole or not at all.

    `sizes` are the served sizes, by default the recipe's. `decode` and `fit` say how files become
    pixels and photos squares (see `InputSize`), by default as in training. `statistics_images` is a
    number of training images, by default the recipe's: on their crops, cut as in serving, the
    statistics of batch normalization are measured again. 0 keeps the statistics of training.

    `rough_int8` says what to do where the int8 graph differs much from fp32: refuse the export,
    write the package without it, which `log` gets, or keep it.

    `data_folder` holds the images of the run; `images` are these, where they have been split.
    Some of them check parity, training images calibrate int8, and the calibration split shows how
    often int8 agrees with fp32.

    Raises:
        DataError: no checkpoint, or images that are not the run's.
        ExportError: an unfinished run, or a graph that does not agree with the checkpoint.
        UsageError: `out_folder` holds a package and `overwrite` is false, or something else.
    """
    check_replaceable(out_folder, overwrite=overwrite)
    check_version(version)
    source = load_source(
        run, data_folder, allow_unfinished=allow_unfinished, sizes=sizes, images=images, log=log
    )
    named = {key: value for key, value in {"decode": decode, "fit": fit}.items() if value}
    source = replace(source, sizes=source.sizes.model_copy(update=named))
    provenance = provenance_of(source.state.facts, source.recipe.seed, source.images)
    measured = source.recipe.statistics_images if statistics_images is None else statistics_images
    if measured:
        source = _with_served_statistics(source, measured, provenance)
    names = labels(source.state.facts["classes"], data_folder)
    for line in shared_names(names):
        log(line)
    if source.recipe.architecture.is_backbone:
        write_backbone(
            source.recipe.architecture.name,
            source.network(source.state.weights),
            out_folder,
            labels=names,
            sizes=source.sizes,
            normalization=source.normalization,
            task=source.state.facts.get("task", "single_label"),
            images=source.images,
            version=version,
            provenance=provenance,
            quantization=quantization or Quantization() if int8 else None,
            keep_rough=rough_int8 == "keep",
            fp16=fp16,
            log=log,
        )
        return out_folder
    with replacing(out_folder) as folder:
        files = [_write_fp32(source, names, folder, provenance, log)]
        if int8:
            how = quantization or Quantization()
            files += _write_int8(source, folder, how, rough_int8, provenance, log)
        manifest = Manifest(
            name=out_folder.name,
            version=version,
            architecture=_architecture(source),
            task=source.state.facts.get("task", "single_label"),
            labels=names,
            input=source.sizes,
            graph=Graph(embedding=embedding_channels(onnx.load(folder / FILES["fp32"]))),
            normalization=source.normalization,
            files=tuple(files),
            provenance=provenance,
            default_mode="none",  # until calibration measures whether TTA helps
        )
        write_manifest(folder, manifest)
        if fp16:
            add_fp16(folder, log=log)
        write_model_card(folder)
    return out_folder


def load_source(
    run: Path | OutsideWeights,
    data_folder: Path,
    *,
    allow_unfinished: bool,
    sizes: InputSize | None = None,
    images: Split | None = None,
    log: Callable[[str], None] = print,
) -> Source:
    """Read the checkpoint and find its images.

    Raises:
        DataError: no checkpoint, or images that are not the run's.
        ExportError: an unfinished run that was not allowed, or one whose weights are NaN.
    """
    if isinstance(run, OutsideWeights):
        return _load_outside(run, data_folder, sizes, log)
    run_folder, state = run, checkpoint.load(run)
    recipe = Recipe.from_json(state.facts["recipe"])
    if not state.facts["finished"] and not allow_unfinished:
        plan = state.facts.get("plan")
        epochs = plan["epochs"] if plan else sum(fit.epochs for fit in fits(recipe.stages))
        raise ExportError(
            f"{run_folder} has done {len(state.facts['history'])} of {epochs} epochs: "
            "continue it with quincunx train --resume, or export it now with --allow-unfinished"
        )
    images = images or split(data_folder, recipe)
    if images.fingerprint() == state.facts["fingerprint"]:
        for line in images.lines():
            log(line)
    else:
        images = readable(images, log)  # training left unreadable files out
    if images.fingerprint() != state.facts["fingerprint"]:
        raise DataError(
            f"{data_folder} is not what {run_folder} was trained on: files were added, removed or "
            "changed, so the calibration split would not be the one held out"
        )
    return _source(state, recipe, images, sizes, run_folder)


def _load_outside(
    given: OutsideWeights, data: Path, sizes: InputSize | None, log: Callable[[str], None]
) -> Source:
    images = split(data, given.recipe)
    for line in images.lines():
        log(line)
    return _source(given.checkpoint(images), given.recipe, images, sizes, given.file)


def _source(
    state: Checkpoint, recipe: Recipe, images: Split, sizes: InputSize | None, origin: Path
) -> Source:
    for name, tensor in state.weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ExportError(f"{origin} has diverged: {name} holds NaN or infinite values")
    own = recipe.input_size()
    if sizes:
        own = own.model_copy(update={"crop_px": sizes.crop_px, "resize_px": sizes.resize_px})
    return Source(state, recipe, images, own)


def _with_served_statistics(source: Source, images: int, provenance: dict[str, Any]) -> Source:
    network = source.network(source.state.weights)
    batches, total = served_batches(
        source.images.train, source.sizes, source.normalization, images, source.recipe.seed
    )
    provenance["statistics_images"] = remeasure(network, batches, total)
    return replace(source, state=replace(source.state, weights=network.state_dict()))


def _write_fp32(
    source: Source,
    names: tuple[Label, ...],
    folder: Path,
    provenance: dict[str, Any],
    log: Callable[[str], None],
) -> OnnxFile:
    """Export, store the weights as float16, compare the file with torch on the same weights."""
    exact = source.graph(source.state.weights)
    rounded = source.graph(round_to_fp16(source.state.weights))
    model = store_fp16(to_onnx(rounded))
    add_embedding(model, source.sizes.crop_px)
    add_metadata(model, names, source.sizes, source.normalization)
    path = folder / FILES["fp32"]
    onnx.save(model, path)
    some = sample(source.images.train, 3, source.recipe.seed)
    provenance["parity"] = check_parity(rounded, path, some, source.sizes)
    provenance["weights_stored"] = {
        "as": "float16",
        "largest_relative_difference": compare(exact, path, some, shapes(source.sizes)),
    }
    worst = max(provenance["parity"]["largest_relative_difference"].values())
    log(f"{path.name}: {_mib(path)}; agrees with the checkpoint to {worst:.0e}")
    return describe(folder, "fp32")


def _write_int8(
    source: Source,
    folder: Path,
    how: Quantization,
    rough: RoughInt8,
    provenance: dict[str, Any],
    log: Callable[[str], None],
) -> list[OnnxFile]:
    fp32, path = folder / FILES["fp32"], folder / FILES["int8"]
    seed, images, sizes = source.recipe.seed, source.images, source.sizes
    quantize(fp32, path, sample(images.train, how.images, seed), sizes, how)
    copy_metadata(fp32, path)
    some, exact = sample(images.train, 3, seed), source.graph(source.state.weights)
    apart = compare(exact, path, some, served_shapes(sizes))
    if rough != "keep" and (reason := too_rough(path, apart)):
        if rough == "refuse":
            raise ExportError(f"{reason} (--no-int8)")
        log(f"int8 is left out: {reason}")
        path.unlink()
        return []
    held_out = sample(images.calibration or images.train, AGREEMENT_IMAGES, seed)
    measured = agreement(fp32, path, held_out, sizes)
    provenance["int8"] = {
        **how.to_json(),
        "against_fp32": measured,
        "largest_relative_difference": apart,
    }
    agreed = f"{measured['top1_agreement']:.1%}"
    log(f"{path.name}: {_mib(path)}; the same class as fp32 in {agreed} of views")
    return [describe(folder, "int8")]


def _architecture(source: Source) -> dict[str, Any]:
    recipe = source.recipe.to_json()["architecture"]
    parameters = sum(p.numel() for p in source.graph(source.state.weights).parameters())
    return {**recipe, "parameters": parameters, "stride_px": architecture.STRIDE_PX}


def _mib(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.1f} MiB"
