"""Sources for archives: tar shards named as in WebDataset, and zip files."""

import gzip
import json
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, cast

from service.console.text import storable
from service.errors import TooLarge
from service.inference.image.signatures import SIGNATURE_BYTES
from service.listing.image_files import has_image_suffix, is_hidden_path, is_image
from service.listing.skipped import HIDDEN, LINK, SPECIAL, Skipped
from service.scoring.files import check_file, check_length, divided, open_binary
from service.scoring.item import Item
from service.tabular.label_text import label_text

LABEL_MEMBER_BYTES = 1 << 20
LABEL_SUFFIXES = ("cls", "json", "txt")
BROKEN = (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError, zlib.error, lzma.LZMAError)
UNREADABLE = (*BROKEN, RuntimeError, NotImplementedError)
"""A member of a zip file that is broken, encrypted, or packed in an unknown way."""


def _broken(archive: str, last: str | None, error: Exception | str) -> Item:
    after = f"after {last}" if last else "at its beginning"
    return Item(archive, error=f"DataError: the archive breaks off {after}: {error}")


@dataclass(frozen=True)
class Zip:
    """The images in a zip file, in the archive's own order."""

    name: str

    def check(self) -> None:
        check_file(self.name)

    def items(self, skip: int = 0) -> Iterator[Item]:
        return self.sifted(skip, Skipped())

    def sifted(self, skip: int, skipped: Skipped) -> Iterator[Item]:
        try:
            with open_binary(self.name) as stream, zipfile.ZipFile(stream) as archive:
                for member in islice(self._images(archive, skipped), skip, None):
                    yield self._item(archive, member)
        except BROKEN as error:
            if skip == 0:  # nothing of it was read: a broken directory is one item
                yield Item(self.name, error=f"DataError: the zip file cannot be read: {error}")

    def count(self) -> int | None:
        try:
            with open_binary(self.name) as stream, zipfile.ZipFile(stream) as archive:
                return sum(1 for _ in self._images(archive, Skipped()))
        except BROKEN:
            return None

    def _images(self, archive: zipfile.ZipFile, skipped: Skipped) -> Iterator[zipfile.ZipInfo]:
        for member in archive.infolist():
            if member.is_dir():
                continue
            path = f"{self.name}/{member.filename}"
            if is_hidden_path(member.filename):
                skipped.add(path, HIDDEN)
            elif _is_link(member) and not has_image_suffix(member.filename):
                skipped.add(path, LINK)
            elif is_image(member.filename, partial(_head, archive, member)):
                yield member
            else:
                skipped.add(path)

    def _item(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Item:
        path = f"{self.name}/{member.filename}"
        try:
            check_length(member.file_size)
            data = archive.read(member)
            if _is_link(member):
                return Item(path, error=_not_followed(storable(os.fsdecode(data))))
            return Item(path, data=data)
        except TooLarge as error:
            return Item(path, error=f"TooLarge: {error}")
        except UNREADABLE as error:
            return Item(path, error=f"DataError: the member cannot be read: {error}")


def _is_link(member: zipfile.ZipInfo) -> bool:
    """Whether a member is a symbolic link, as zip programs of Unix store it (`zip -y`)."""
    return stat.S_ISLNK(member.external_attr >> 16)


def _not_followed(target: str) -> str:
    return f"DataError: the member is a link to {target}, and is not followed"


def _head(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(member) as stream:
            return stream.read(SIGNATURE_BYTES)
    except UNREADABLE as error:
        raise OSError(str(error)) from error


class _Info(tarfile.TarInfo):
    """Notices the end-of-archive mark. Otherwise a cut between members would look like the end."""

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
    """Members of one WebDataset key: images, perhaps a label, and other files."""

    key: str
    images: list[Item] = field(default_factory=list[Item])
    label: str | None = None
    is_caption: bool = False
    """The label is the text of a `.txt`, which may be a caption."""
    others: list[str] = field(default_factory=list[str])

    def items(self, skipped: Skipped) -> Iterator[Item]:
        """The images. If there is none, the other members count as skipped files."""
        if not self.images:
            for path in self.others:
                skipped.add(path)
        for image in self.images:
            yield Item(
                image.path, image.data, self.label, image.error, may_be_caption=self.is_caption
            )


@dataclass(frozen=True)
class Tar:
    """The images in a tar, read as one stream; `key.cls`, `.txt` or `.json` holds the label.

    A WebDataset sample is a sequence of members whose names agree up to the first dot.
    """

    name: str

    def check(self) -> None:
        check_file(self.name)

    def items(self, skip: int = 0) -> Iterator[Item]:
        return self.sifted(skip, Skipped())

    def sifted(self, skip: int, skipped: Skipped) -> Iterator[Item]:
        return islice(self._items(skipped), skip, None)

    def count(self) -> int | None:
        return None  # counting would need to read the whole archive

    def _items(self, skipped: Skipped) -> Iterator[Item]:
        sample, last = _Sample(""), None
        try:
            with open_binary(self.name) as raw, _unpacked(raw, self.name) as stream:
                archive = tarfile.open(fileobj=stream, mode="r|", tarinfo=_Info)  # noqa: SIM115
                for member in archive:
                    if member.isdir():
                        continue
                    if is_hidden_path(member.name):
                        skipped.add(f"{self.name}/{member.name}", HIDDEN)
                        continue
                    key = _key(member.name)
                    if key != sample.key:
                        yield from sample.items(skipped)
                        sample = _Sample(key)
                    self._add(sample, archive, member, skipped)
                    last = member.name
                yield from sample.items(skipped)
                sample = _Sample("")
                if not getattr(archive, "saw_end", False):
                    yield _broken(self.name, last, "no end-of-archive mark")
        except BROKEN as error:
            yield from sample.items(skipped)
            yield _broken(self.name, last, error)

    def _add(
        self, sample: _Sample, archive: tarfile.TarFile, member: tarfile.TarInfo, skipped: Skipped
    ) -> None:
        path = f"{self.name}/{member.name}"
        suffix = member.name[len(sample.key) + 1 :].lower()
        if not member.isfile():
            self._add_link(sample, member, skipped)
        elif suffix in LABEL_SUFFIXES and member.size <= LABEL_MEMBER_BYTES:
            sample.others.append(path)
            label = _label(suffix, _Content(archive, member).read())
            if label is not None and (suffix == "cls" or sample.label is None or sample.is_caption):
                sample.label, sample.is_caption = label, suffix == "txt"
        else:
            content = _Content(archive, member)
            if not is_image(member.name, content.head):
                sample.others.append(path)
                return
            try:
                check_length(member.size)
                sample.images.append(Item(path, data=content.read()))
            except TooLarge as error:
                sample.images.append(Item(path, error=f"TooLarge: {error}"))

    def _add_link(self, sample: _Sample, member: tarfile.TarInfo, skipped: Skipped) -> None:
        """Add an error for a link: a stream cannot go back to the file that the link names."""
        path = f"{self.name}/{member.name}"
        if not (member.islnk() or member.issym()):
            skipped.add(path, SPECIAL)
        elif has_image_suffix(member.name):
            sample.images.append(Item(path, error=_not_followed(member.linkname)))
        else:
            skipped.add(path, LINK)


class _Content:
    """The bytes of a member of a stream, which can be read once."""

    def __init__(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        self._member = member
        self._stream = archive.extractfile(member)
        self._head = b""

    def head(self) -> bytes:
        """The first `SIGNATURE_BYTES`."""
        self._head = self._stream.read(SIGNATURE_BYTES) if self._stream else b""
        return self._head

    def read(self) -> bytes:
        """All bytes.

        Raises:
            ReadError: the archive breaks off within the member.
        """
        rest = self._stream.read() if self._stream else b""
        data = self._head + rest
        if len(data) != self._member.size:
            raise tarfile.ReadError(
                f"{self._member.name} has {len(data)} of {self._member.size} bytes"
            )
        return data


def _unpacked(raw: Any, name: str) -> Any:
    lowered = divided(name)[1].lower()
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
    return None if isinstance(value, dict) else label_text(value) or None
