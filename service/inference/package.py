"""A model package on disk: verified before anything in it is loaded."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from service.errors import ModelPackageError
from service.inference.manifest import Manifest, OnnxFile, Precision

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class ModelPackage:
    """A folder whose manifest is valid and whose files have the digests it names."""

    folder: Path
    manifest: Manifest

    @classmethod
    def load(cls, folder: Path | str) -> "ModelPackage":
        """Read the manifest and verify the sha256 of every file it names.

        Raises:
            ModelPackageError: no manifest, an invalid one, or a file missing or altered.
        """
        folder = Path(folder)
        package = cls(folder, _read_manifest(folder))
        for file in package.manifest.files:
            package._verify(file)
        return package

    @property
    def precisions(self) -> tuple[Precision, ...]:
        return tuple(file.precision for file in self.manifest.files)

    def path(self, precision: Precision) -> Path:
        """The ONNX file of `precision`.

        Raises:
            ModelPackageError: the package has none.
        """
        for file in self.manifest.files:
            if file.precision == precision:
                return self.folder / file.file
        raise ModelPackageError(
            f"{self.folder} has no {precision} model; it has: {', '.join(self.precisions)}"
        )

    def _verify(self, file: OnnxFile) -> None:
        path = self.folder / file.file
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ModelPackageError(f"{path} cannot be read: {error.strerror}") from error
        if digest != file.sha256:
            raise ModelPackageError(
                f"{path} was altered: its sha256 is {digest}, the manifest says {file.sha256}"
            )


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MAX_MANIFEST_BYTES:
            raise ModelPackageError(f"{path} is over {MAX_MANIFEST_BYTES} bytes")
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelPackageError(f"no model package in {folder}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ModelPackageError(f"{path} is invalid at {where}: {first['msg']}") from error


def find(root: Path) -> list[Path]:
    """The folders directly under `root` that hold a manifest, sorted by name.

    Hidden folders are left out: an export that was killed may leave one.
    """
    found = (path.parent for path in root.glob(f"*/{MANIFEST}"))
    return sorted(folder for folder in found if not folder.name.startswith("."))
