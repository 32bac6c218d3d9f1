"""Write a model package so that a reader sees either the whole new package or the old one."""

import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

from service.errors import UsageError
from service.package.manifest import (
    NAME_PATTERN,
    SCHEMA_VERSION,
    VERSION_PATTERN,
    InputSize,
    Label,
    Manifest,
    Normalization,
    OnnxFile,
    Precision,
)
from service.package.package import MANIFEST
from service.replacing import check_writable, replacing_file, runs

FILES: dict[Precision, str] = {
    "fp32": "model.onnx",
    "fp16": "model.fp16.onnx",
    "int8": "model.int8.onnx",
}


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder`. It replaces `folder` if the block ends without an error.

    A package written before is replaced whole: its metrics and calibration belong to other weights.
    An error or a signal in the block removes the new folder. A killed process cannot: what it left
    is removed by the next call for the same `folder`. If it was killed while the folders changed
    places, that call puts the old folder back first.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.{os.getpid()}.", dir=folder.parent))
    try:
        new.chmod(0o755)  # mkdtemp makes it private
        yield new
        if folder.exists():
            old = new.with_name(f"{new.name}.old")
            folder.rename(old)
            try:
                new.rename(folder)
            except BaseException:
                old.rename(folder)
                raise
            shutil.rmtree(old)
        else:
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished folders of processes that are gone, but never the only package."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        pid = left.name.removeprefix(f".{folder.name}.").partition(".")[0]
        if pid.isdigit() and not runs(int(pid)):
            if left.suffix == ".old" and not folder.exists():
                left.rename(folder)
            else:
                shutil.rmtree(left, ignore_errors=True)


def check_replaceable(folder: Path, *, overwrite: bool) -> None:
    """Check that writing a package to `folder` destroys nothing without permission.

    Raises:
        UsageError: `folder` holds something that is not a model package, or it holds a package and
            `overwrite` is false; the message says what would be lost. Or a package cannot have
            this name, or nothing can be written there.
    """
    if not NAME_PATTERN.fullmatch(folder.name):
        raise UsageError(
            f"a package has the name of its folder, and {folder.name!r} is not a valid name: use "
            "up to 64 lower case letters, digits, '.', '_' and '-'"
        )
    check_writable(folder.parent)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / MANIFEST).exists():
        raise UsageError(f"{folder} exists and is not a model package: name another folder")
    if not overwrite:
        raise UsageError(
            f"{folder} holds a model package{_what_is_lost(folder)}: name another folder, or "
            "replace it with --overwrite"
        )


def check_version(version: str) -> None:
    """Raises UsageError if `version` is not a valid version of a package."""
    if not re.fullmatch(VERSION_PATTERN, version):
        raise UsageError(f"a version is one to three numbers, as 2 or 1.4.0, but got {version!r}")


def is_unfinished_export(folder: Path, recipe: dict[str, Any]) -> bool:
    """Whether `folder` holds an export of a run of `recipe` that was not calibrated or measured.

    A kill between export and calibration leaves such a folder. Exporting again loses nothing.
    """
    content = _manifest_of(folder)
    return content.get("provenance", {}).get("recipe") == recipe and not _fitted(content)


def _what_is_lost(folder: Path) -> str:
    content = _manifest_of(folder)
    fitted = _fitted(content)
    mode = f" and its default mode ({content.get('default_mode')})" if fitted else ""
    return f"; exporting again would drop its {', '.join(fitted)}{mode}" if fitted else ""


def _fitted(content: dict[str, Any]) -> list[str]:
    keys = {"calibration": "calibration", "metrics": "metrics", "multi_label_metrics": "metrics"}
    return [name for key, name in keys.items() if content.get(key)]


def _manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest as plain JSON; empty if it is missing or broken."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def describe(folder: Path, precision: Precision) -> OnnxFile:
    """The manifest's entry for the graph of `precision` in `folder`."""
    path = folder / FILES[precision]
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return OnnxFile(
        file=path.name, precision=precision, size_bytes=path.stat().st_size, sha256=digest
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` of a new package, replacing the old one in one step.

    It is written as the newest version, also where it was read as an older one. A package that is
    there already is changed with `training.export.change.write_change`.
    """
    with replacing_file(folder / MANIFEST) as stream:
        stream.write(serialized(manifest))


def serialized(manifest: Manifest) -> bytes:
    """The content of ``manifest.json``."""
    manifest = manifest.model_copy(update={"schema_version": SCHEMA_VERSION})
    return f"{manifest.model_dump_json(indent=2)}\n".encode()


def add_metadata(
    model: onnx.ModelProto,
    labels: tuple[Label, ...],
    sizes: InputSize,
    normalization: Normalization,
) -> None:
    """Repeat labels, sizes and normalization in the file, so that an .onnx file alone is enough."""
    onnx.helper.set_model_props(
        model,
        {
            "quincunx.labels": "[" + ",".join(label.model_dump_json() for label in labels) + "]",
            "quincunx.input": sizes.model_dump_json(),
            "quincunx.normalization": normalization.model_dump_json(),
        },
    )


def copy_metadata(source: Path, target: Path) -> None:
    """Give `target` the metadata of `source`, because the tools that rewrite a graph lose it."""
    props = {p.key: p.value for p in onnx.load(source).metadata_props}
    model = onnx.load(target)
    onnx.helper.set_model_props(model, props)
    onnx.save(model, target)
