"""A model package on disk: verified before anything in it is loaded."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from service.errors import ModelPackageError
from service.inference.unknown import UnknownScorer
from service.package import contained, manifest_file
from service.package.graph import check_graph
from service.package.manifest import Manifest, OnnxFile, Precision
from service.package.manifest_file import MANIFEST, MAX_MANIFEST_BYTES


def fast_precision(*, gpu: bool) -> Precision:
    """The precision that a GPU or a CPU runs fastest."""
    return "fp16" if gpu else "int8"


@dataclass(frozen=True)
class ModelPackage:
    """A folder with a valid manifest and the graphs that it describes."""

    folder: Path
    manifest: Manifest
    manifest_sha256: str = ""
    """The digest of the bytes from which `manifest` was read."""
    unknown: UnknownScorer | None = None
    """How the unknown score is computed; None if the manifest has no `unknown` part."""

    @classmethod
    def load(cls, folder: Path | str) -> "ModelPackage":
        """Read the manifest, and check the sha256 and the classes of every file that it names.

        Raises:
            ModelPackageError: no manifest, an invalid one, a file that is missing or altered, or
                one that does not fit the manifest.
        """
        folder = Path(folder)
        package = cls(folder, *_read_manifest(folder))
        for file in package.manifest.files:
            package._read(file)
        return replace(package, unknown=package._scorer())

    @property
    def precisions(self) -> tuple[Precision, ...]:
        return tuple(file.precision for file in self.manifest.files)

    def served_precision(
        self, wanted: Precision | Literal["auto"] = "auto", *, gpu: bool = False
    ) -> Precision:
        """The precision to serve: `auto` is int8 on a CPU and fp16 on a GPU, or else fp32.

        Raises:
            ModelPackageError: the package does not have it, and it cannot be derived.
        """
        if wanted == "auto":
            fast = fast_precision(gpu=gpu)
            wanted = fast if self.offers(fast) else "fp32"
        self._file(self.source(wanted))
        return wanted

    def offers(self, precision: Precision) -> bool:
        """Whether the package has a graph of `precision`, or one from which it is derived."""
        return self.source(precision) in self.precisions

    def derives(self, precision: Precision) -> bool:
        """Whether the graph of `precision` is derived from another one when it is opened."""
        return self.source(precision) != precision

    def source(self, precision: Precision) -> Precision:
        """The precision of the file behind `precision`: fp32 for an fp16 graph that is derived."""
        derived = precision == "fp16" and "fp16" not in self.precisions
        return "fp32" if derived and "fp32" in self.precisions else precision

    def path(self, precision: Precision) -> Path:
        """The ONNX file of `precision`.

        Raises:
            ModelPackageError: the package has none.
        """
        return self.folder / self._file(precision).file

    def sha256(self, precision: Precision) -> str:
        """The digest of the ONNX file behind `precision`, as the manifest has it.

        Raises:
            ModelPackageError: the package has none.
        """
        return self._file(self.source(precision)).sha256

    def read(self, precision: Precision) -> bytes:
        """The graph of `precision`, verified again: a file may have changed since `load`.

        Raises:
            ModelPackageError: the package has none, or the file was altered.
        """
        return self._read(self._file(precision))

    def read_unknown(self) -> dict[str, bytes]:
        """The file of the unknown score and its content, verified again; empty without one.

        Raises:
            ModelPackageError: the file was altered.
        """
        unknown = self.manifest.unknown
        if unknown is None:
            return {}
        data = contained.read_verified(
            self.folder, unknown.file, unknown.size_bytes, unknown.sha256
        )
        return {unknown.file: data}

    def _scorer(self) -> UnknownScorer | None:
        unknown, channels = self.manifest.unknown, self.manifest.graph.embedding
        if unknown is None or channels is None:
            return None
        (data,) = self.read_unknown().values()
        return UnknownScorer.read(unknown, data, channels, str(self.folder / unknown.file))

    def _file(self, precision: Precision) -> OnnxFile:
        for file in self.manifest.files:
            if file.precision == precision:
                return file
        raise ModelPackageError(
            f"{self.folder} has no {precision} model; it has: {', '.join(self.precisions)}"
        )

    def _read(self, file: OnnxFile) -> bytes:
        data = contained.read_verified(self.folder, file.file, file.size_bytes, file.sha256)
        path = self.folder / file.file
        classes = check_graph(data, path, self.manifest.graph)
        labels = len(self.manifest.labels)
        if classes != labels:
            raise ModelPackageError(
                f"{path} answers for {classes} classes, but {MANIFEST} has {labels} labels"
            )
        return data


def _read_manifest(folder: Path) -> tuple[Manifest, str]:
    path = folder / MANIFEST
    try:
        folder.stat()
        path.lstat()
    except OSError as error:
        raise ModelPackageError(f"no model package in {folder}: {error.strerror}") from error
    data = contained.read_bytes(folder, MANIFEST, MAX_MANIFEST_BYTES)
    return manifest_file.parse(data, str(path)), hashlib.sha256(data).hexdigest()


def find(root: Path) -> list[Path]:
    """The folders directly under `root` that have a manifest, sorted by name.

    Hidden folders are left out, because a killed export may leave one. A folder whose manifest
    cannot be read is included: reading it gives the error.

    Raises:
        ModelPackageError: `root` is a folder that cannot be read.
    """
    return [folder for folder in _folders(root) if _has_manifest(folder)]


def without_manifest(root: Path) -> list[Path]:
    """Folders directly under `root` with a graph but no manifest.

    They are not packages, but were probably meant to be.

    Raises:
        ModelPackageError: see `find`.
    """
    return [
        folder
        for folder in _folders(root)
        if not _has_manifest(folder) and next(folder.glob("*.onnx"), None)
    ]


def _folders(root: Path) -> list[Path]:
    try:
        found = [path for path in root.iterdir() if path.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ModelPackageError(f"{root} cannot be read: {error.strerror}") from error
    return sorted(path for path in found if not path.name.startswith("."))


def _has_manifest(folder: Path) -> bool:
    try:
        (folder / MANIFEST).lstat()
    except FileNotFoundError:
        return False
    except OSError:  # it may be there: reading it says what is wrong
        return True
    return True
