"""Sources for Parquet and Arrow tables: a column of image bytes, or one of paths."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow as pa

from service.errors import TooLarge, UsageError
from service.scoring.files import check_file, check_length, join, open_binary, parent
from service.scoring.item import Item
from service.scoring.sources.source import Columns
from service.tabular import arrow_cells as cells
from service.tabular.arrow_files import BROKEN, ArrowReader, opened
from service.tabular.columns import PATH_COLUMNS, listed, pick

IMAGE_COLUMNS = ("image", "bytes", "image_bytes", "img", "jpg", "jpeg", "png", "content", "data")


@dataclass(frozen=True)
class _Roles:
    """The columns to read, by their roles."""

    image: str | None
    path: str | None
    label: str | None
    class_names: tuple[str, ...] | None
    """For a Hugging Face `ClassLabel`: the name for each integer in the label column."""

    @property
    def names(self) -> list[str]:
        wanted = (self.image, self.path, self.label)
        return list(dict.fromkeys(name for name in wanted if name is not None))


@dataclass(frozen=True)
class TableFile:
    """A Parquet or Arrow file; the image column is binary, or a struct with a field `bytes`."""

    name: str
    columns: Columns
    partitions: dict[str, str] = field(default_factory=dict[str, str])
    """Columns with a single value, which the names of the file's folders give."""

    def check(self) -> None:
        """Raises UsageError if there is no file, or if a requested column is missing."""
        check_file(self.name)
        with self._reader() as reader:
            self._roles(reader.schema)

    def items(self, skip: int = 0) -> Iterator[Item]:
        with self._reader() as reader:
            roles = self._roles(reader.schema)
            row = skip
            try:
                for batch in reader.batches(roles.names, skip):
                    for item in self._items(batch, roles, row):
                        yield item
                        row += 1
            except BROKEN as error:
                yield Item(
                    self.name, error=f"DataError: the table breaks off at row {row}: {error}"
                )

    def count(self) -> int | None:
        with self._reader() as reader:
            return reader.rows

    def true_labels(self) -> Iterator[str]:
        if self.columns.label is None:
            return
        with self._reader() as reader:
            roles = self._roles(reader.schema)
            if roles.label is None:
                yield self._partition() or ""
                return
            try:
                for batch in reader.batches([roles.label]):
                    yield from cells.labels(batch.column(roles.label), roles.class_names)
            except BROKEN:
                return  # reading the images will report it

    @contextmanager
    def _reader(self) -> Generator[ArrowReader]:
        with open_binary(self.name) as stream, opened(stream, self.name) as reader:
            yield reader

    def _partition(self) -> str | None:
        return None if self.columns.label is None else self.partitions.get(self.columns.label)

    def _items(self, batch: pa.RecordBatch, roles: _Roles, row: int) -> Iterator[Item]:
        nothing = [None] * len(batch)
        path_column = cells.texts(batch.column(roles.path)) if roles.path else nothing
        data, own_paths = (
            cells.images(batch.column(roles.image)) if roles.image else (nothing, nothing)
        )
        labels = (
            cells.labels(batch.column(roles.label), roles.class_names)
            if roles.label
            else [self._partition()] * len(batch)
        )
        for number, path in enumerate(path_column):
            yield self._item(data[number], path or own_paths[number], labels[number], roles, row)
            row += 1

    def _item(
        self, data: bytes | None, path: str | None, label: str | None, roles: _Roles, row: int
    ) -> Item:
        name = path or f"{self.name}#{row}"
        if data is None:
            # `datasets` stores only the path of an image that it has not copied.
            if path and (roles.image is None or roles.path is None):
                return Item(join(self.columns.root or parent(self.name), path), label=label)
            what = "image" if roles.image else "path"
            return Item(name, label=label, error=f"DataError: the row has no {what}")
        try:
            check_length(len(data))
        except TooLarge as error:
            return Item(name, label=label, error=f"TooLarge: {error}")
        return Item(name, data=data, label=label)

    def _roles(self, schema: pa.Schema) -> _Roles:
        names = list(schema.names)
        kinds = list(schema.types)
        image = self._image(names, kinds)
        path = self._path(names, kinds, image)
        if image is None and path is None:
            raise UsageError(
                f"{self.name} has the columns {listed(names)}; which holds the images "
                "(--image-column) or their paths (--path-column)?"
            )
        label = None
        if self._partition() is None:
            label = pick(self.name, names, self.columns.label, (), "--label-column")
        if label is not None and not cells.is_label(kinds[label]):
            raise UsageError(
                f"{self.name}: the column {names[label]!r} (--label-column) is of type "
                f"{kinds[label]}; a label is text, a number, a truth value, a date, or a list of "
                "these"
            )
        image_name, path_name, label_name = (
            None if at is None else names[at] for at in (image, path, label)
        )
        classes = None if label_name is None else cells.class_names(schema, label_name)
        return _Roles(image_name, path_name, label_name, classes)

    def _image(self, names: list[str], kinds: list[pa.DataType]) -> int | None:
        """The index of the column of image bytes."""
        holds = [cells.is_binary(kind) or cells.is_image_struct(kind) for kind in kinds]
        if self.columns.image is not None:
            place = pick(self.name, names, self.columns.image, (), "--image-column")
            if place is not None and not holds[place]:
                raise UsageError(
                    f"{self.name}: the column {names[place]!r} (--image-column) is of type "
                    f"{kinds[place]}; images are binary, or a struct with a field bytes"
                )
            return place
        there = [name if held else "" for name, held in zip(names, holds, strict=True)]
        place = pick(self.name, there, None, IMAGE_COLUMNS, "--image-column")
        taken = {*PATH_COLUMNS, self.columns.label}
        others = [at for at, name in enumerate(there) if name and name.casefold() not in taken]
        if place is None and self.columns.path is None and len(others) == 1:
            return others[0]
        return place

    def _path(self, names: list[str], kinds: list[pa.DataType], image: int | None) -> int | None:
        """The index of the column of paths. A binary column may hold text."""
        readable = [cells.is_text(kind) or cells.is_binary(kind) for kind in kinds]
        if self.columns.path is not None:
            place = pick(self.name, names, self.columns.path, (), "--path-column")
            if place is not None and not readable[place]:
                raise UsageError(
                    f"{self.name}: the column {names[place]!r} (--path-column) is of type "
                    f"{kinds[place]}; paths are text"
                )
            return place
        there = [
            name if could and at != image else ""
            for at, (name, could) in enumerate(zip(names, readable, strict=True))
        ]
        place = pick(self.name, there, None, PATH_COLUMNS, "--path-column")
        label = self.columns.label
        only = [at for at, k in enumerate(kinds) if cells.is_text(k) and names[at] != label]
        if place is None and image is None and len(only) == 1:
            return only[0]
        return place
