"""Write a model package so that a reader sees the whole of it or the one before."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx

from service.errors import UsageError
from service.inference.manifest import (
    InputSize,
    Label,
    Manifest,
    Normalization,
    OnnxFile,
    Precision,
)
from service.inference.package import MANIFEST

FILES: dict[Precision, str] = {
    "fp32": "model.onnx",
    "fp16": "model.fp16.onnx",
    "int8": "model.int8.onnx",
}


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place where the block ends without an error.

    A package written before is replaced whole: its metrics and calibration belong to other weights.

    Raises:
        UsageError: `folder` exists and is no model package.
    """
    check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        new.chmod(0o755)  # mkdtemp makes it private
        yield new
        if folder.exists():
            old = new.with_name(f"{new.name}.old")
            folder.rename(old)
            new.rename(folder)
            shutil.rmtree(old)
        else:
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def check_replaceable(folder: Path) -> None:
    """Raises UsageError where `folder` holds something that is no model package."""
    if folder.exists() and not (folder / MANIFEST).exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} exists and is no model package: name another folder")


def describe(folder: Path, precision: Precision) -> OnnxFile:
    """The manifest's entry for the graph of `precision` in `folder`."""
    path = folder / FILES[precision]
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return OnnxFile(
        file=path.name, precision=precision, size_bytes=path.stat().st_size, sha256=digest
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, replacing the one before in one step."""
    new = folder / f".{MANIFEST}.new"
    new.write_text(manifest.model_dump_json(indent=2) + "\n")
    os.replace(new, folder / MANIFEST)


def add_metadata(
    model: onnx.ModelProto,
    labels: tuple[Label, ...],
    sizes: InputSize,
    normalization: Normalization,
) -> None:
    """Repeat labels, sizes and normalization in the file: an .onnx alone is enough."""
    onnx.helper.set_model_props(
        model,
        {
            "quincunx.labels": "[" + ",".join(label.model_dump_json() for label in labels) + "]",
            "quincunx.input": sizes.model_dump_json(),
            "quincunx.normalization": normalization.model_dump_json(),
        },
    )


def copy_metadata(source: Path, target: Path) -> None:
    """Give `target` the metadata of `source`: the tools that rewrite a graph lose it."""
    props = {p.key: p.value for p in onnx.load(source).metadata_props}
    model = onnx.load(target)
    onnx.helper.set_model_props(model, props)
    onnx.save(model, target)
