"""Change a package that is there already: its manifest, its metrics and its card together.

Every command that changes a package writes it here. So the package never keeps metrics of another
calibration or graph, and the card says what the manifest says.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from service.errors import UsageError
from service.package.card.document import CARD, keep_edited, render
from service.package.manifest import Manifest
from service.package.package import MANIFEST, ModelPackage
from service.package.recorded.holding import with_what_holds
from service.replacing import replacing_file
from training.export.writer import check_replaceable, replacing, serialized, write_manifest

Log = Callable[[str], None]


def write_change(
    read: ModelPackage,
    manifest: Manifest,
    log: Log,
    *,
    files: Mapping[str, bytes] | None = None,
) -> Manifest:
    """Replace the manifest of the package `read` with `manifest`; return what was written.

    Metrics that do not hold for the changed package are dropped, and `log` says which. The card is
    written again. `files` are new files beside the manifest, by name. No manifest names them yet.

    A reader sees the old package or the new one, because the manifest is replaced in one step. A
    process that is killed before that step leaves the old package. One that is killed between this
    step and the next one leaves the new package with the old card, and `quincunx models verify`
    says so.

    Raises:
        UsageError: another command changed the package since it was read.
        ModelPackageError: a file of the package was altered meanwhile.
    """
    folder = read.folder
    current = ModelPackage.load(folder)
    manifest = _over(read, current, manifest)
    held, dropped = with_what_holds(current.manifest, manifest)
    written = Manifest.model_validate(held.model_dump())
    keep_edited(current, log)
    for name, content in (files or {}).items():
        with replacing_file(folder / name) as stream:
            stream.write(content)
    # The inner file is replaced first. Both are complete on the disk before.
    with replacing_file(folder / CARD) as card, replacing_file(folder / MANIFEST) as new:
        card.write(render(written).encode())
        new.write(serialized(written))
        for stream in (card, new):
            stream.flush()
            os.fsync(stream.fileno())
    ModelPackage.load(folder)
    for line in dropped.lines():
        log(line)
    return written


@contextmanager
def changeable(package: Path, out: Path | None, *, overwrite: bool = False) -> Iterator[Path]:
    """The folder to change: `package` itself, or a copy of it that becomes `out` at the end.

    The copy is there as a whole or not at all. Its name is that of its folder.

    Raises:
        UsageError: `out` holds a package and `overwrite` is false, or something else.
    """
    if out is None:
        if overwrite:
            raise UsageError("--overwrite goes with --out; without it PACKAGE itself is changed")
        yield package
        return
    check_replaceable(out, overwrite=overwrite)
    manifest = ModelPackage.load(package).manifest
    with replacing(out) as new:
        copy_package(package, new)
        renamed = manifest.model_copy(update={"name": out.name})
        if renamed != manifest:
            write_manifest(new, renamed)
            (new / CARD).write_text(render(renamed), encoding="utf-8")
        yield new


def copy_package(folder: Path, new: Path) -> None:
    """Copy everything in a package, also what a user put beside its files.

    Linked files become files, because the copies of graphs are written again.
    """
    for path in folder.iterdir():
        if path.is_file():
            shutil.copyfile(path, new / path.name)
        elif path.is_symlink():
            (new / path.name).symlink_to(path.readlink())
        else:
            shutil.copytree(path, new / path.name, symlinks=True)


def _over(read: ModelPackage, current: ModelPackage, manifest: Manifest) -> Manifest:
    """`manifest`, which was made from `read`, on top of `current`: metrics may be new meanwhile."""
    if current.manifest_sha256 == read.manifest_sha256:
        return manifest
    metrics = {
        "metrics": current.manifest.metrics,
        "multi_label_metrics": current.manifest.multi_label_metrics,
    }
    if current.manifest != read.manifest.model_copy(update=metrics):
        raise UsageError(
            f"{current.folder} was changed by another command meanwhile; nothing was written. Run "
            "this command again"
        )
    return manifest.model_copy(update=metrics)
