"""Leaves of archives: tar shards as WebDataset names them, and zip files."""

import gzip
import json
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from service.errors import TooLarge, UsageError
from service.scoring.files import check_length, is_file, open_binary
from service.scoring.item import Item
from service.scoring.sources.walk import has_image_suffix

LABEL_MEMBER_BYTES = 1 << 20
BROKEN = (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, zlib.error, lzma.LZMAError)


def _visible(name: str) -> bool:
    return has_image_suffix(name) and not name.rpartition("/")[2].startswith(".")


def _broken(archive: str, last: str | None, error: Exception | str) -> Item:
    after = f"after {last}" if last else "at its beginning"
    return Item(archive, error=f"DataError: the archive breaks off {after}: {error}")


@dataclass(frozen=True)
class Zip:
    """The images in a zip file, in the archive's own order."""

    name: str

    def check(self) -> None:
        if not is_file(self.name):
            raise UsageError(f"no file {self.name}")

    def items(self, skip: int = 0) -> Iterator[Item]:
        try:
            with open_binary(self.name) as stream, zipfile.ZipFile(stream) as archive:
                members = (m for m in archive.infolist() if not m.is_dir() and _visible(m.filename))
                for member in islice(members, skip, None):
                    yield self._item(archive, member)
        except BROKEN as error:
            if skip == 0:  # nothing of it was read: a broken directory is one item
                yield Item(self.name, error=f"DataError: the zip file cannot be read: {error}")

    def _item(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Item:
        path = f"{self.name}/{member.filename}"
        try:
            check_length(member.file_size)
            return Item(path, data=archive.read(member))
        except TooLarge as error:
            return Item(path, error=f"TooLarge: {error}")
        except (*BROKEN, RuntimeError, NotImplementedError) as error:  # encrypted, other methods
            return Item(path, error=f"DataError: the member cannot be read: {error}")

    def count(self) -> int | None:
        try:
            with open_binary(self.name) as stream, zipfile.ZipFile(stream) as archive:
                return sum(not m.is_dir() and _visible(m.filename) for m in archive.infolist())
        except BROKEN:
            return None


class _Info(tarfile.TarInfo):
    """Notices the end-of-archive mark: without it, a cut at a member's edge looks like the end."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> Any:
        try:
            return super().fromtarfile(tarfile)
        except _EndMark:
            tarfile.saw_end = True
            raise


_EndMark: type[Exception] = vars(tarfile)["EOFHeaderError"]


@dataclass
class _Sample:
    """Members of one WebDataset key: images, and perhaps a label."""

    key: str
    images: list[Item]
    label: str | None = None

    def items(self) -> Iterator[Item]:
        for image in self.images:
            yield Item(image.path, image.data, self.label, image.error)


@dataclass(frozen=True)
class Tar:
    """The images in a tar, read as one stream; `key.cls`, `.txt` or `.json` holds the label.

    A WebDataset sample is a run of members that agree up to the first dot of the file's name.
    """

    name: str

    def check(self) -> None:
        if not is_file(self.name):
            raise UsageError(f"no file {self.name}")

    def items(self, skip: int = 0) -> Iterator[Item]:
        return islice(self._items(), skip, None)

    def count(self) -> int | None:
        return None  # only by reading all of it

    def _items(self) -> Iterator[Item]:
        sample, last = _Sample("", []), None
        try:
            with open_binary(self.name) as raw, _unpacked(raw, self.name) as stream:
                archive = tarfile.open(fileobj=stream, mode="r|", tarinfo=_Info)  # noqa: SIM115
                for member in archive:
                    if not member.isfile():
                        continue
                    key = _key(member.name)
                    if key != sample.key:
                        yield from sample.items()
                        sample = _Sample(key, [])
                    self._add(sample, archive, member)
                    last = member.name
                yield from sample.items()
                sample = _Sample("", [])
                if not getattr(archive, "saw_end", False):
                    yield _broken(self.name, last, "no end-of-archive mark")
        except BROKEN as error:
            yield from sample.items()
            yield _broken(self.name, last, error)

    def _add(self, sample: _Sample, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        suffix = member.name[len(sample.key) + 1 :].lower()
        if _visible(member.name):
            path = f"{self.name}/{member.name}"
            try:
                check_length(member.size)
                sample.images.append(Item(path, data=_member(archive, member)))
            except TooLarge as error:
                sample.images.append(Item(path, error=f"TooLarge: {error}"))
        elif suffix in ("cls", "json", "txt") and member.size <= LABEL_MEMBER_BYTES:
            label = _label(suffix, _member(archive, member))
            if label is not None and (suffix == "cls" or sample.label is None):
                sample.label = label


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    data = stream.read() if stream else b""
    if len(data) != member.size:
        raise tarfile.ReadError(f"{member.name} has {len(data)} of {member.size} bytes")
    return data


def _unpacked(raw: Any, name: str) -> Any:
    lowered = name.lower()
    if lowered.endswith((".gz", ".tgz")):
        return gzip.GzipFile(fileobj=raw)
    if lowered.endswith((".xz", ".txz")):
        return lzma.LZMAFile(raw)
    return raw


def _key(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _label(suffix: str, data: bytes) -> str | None:
    """The label that a WebDataset member holds: text, or a field of a JSON object."""
    text = data.decode("utf-8", "replace").strip()
    if suffix != "json":
        return text or None
    try:
        content = json.loads(text)
    except ValueError:
        return None
    if not isinstance(content, dict):
        return None
    fields = cast("dict[str, Any]", content)
    value = next((fields[k] for k in ("label", "cls", "class") if k in fields), None)
    return str(value) if isinstance(value, (str, int)) else None
