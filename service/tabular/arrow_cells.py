"""Read Arrow columns as text and bytes, for scoring and training."""

import json
from collections.abc import Sequence
from typing import Any, cast

import pyarrow as pa

from service.tabular.label_text import label_text

HUGGING_FACE = b"huggingface"
"""The key of the metadata in which `datasets` keeps the features of a table."""


def storage(kind: Any) -> Any:
    """The type of the values, inside a dictionary, an extension or a run-end encoding."""
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        else:
            return kind


def is_text(kind: Any) -> bool:
    """Whether a column holds text, however Arrow stores it."""
    kind = storage(kind)
    return (
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def is_binary(kind: Any) -> bool:
    """Whether a column holds byte strings."""
    kind = storage(kind)
    return (
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def is_image_struct(kind: Any) -> bool:
    """Whether a column is a struct with a field `bytes`, as Hugging Face `datasets` has images."""
    struct: Any = storage(kind)
    names: list[str] = struct.names if pa.types.is_struct(struct) else []
    return "bytes" in names and is_binary(cast("Any", struct).field("bytes").type)


def is_label(kind: Any) -> bool:
    """Whether a value can be a label: text, a number, a truth value, a date, or a list of these."""
    kind = storage(kind)
    if is_list(kind):
        return is_label(kind.value_type) and not is_list(storage(kind.value_type))
    types = pa.types
    return (
        is_text(kind)
        or is_binary(kind)
        or types.is_null(kind)
        or types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_date(kind)
        or types.is_timestamp(kind)
    )


def is_list(kind: Any) -> bool:
    """Whether a value is a list."""
    return any(
        getattr(pa.types, f"is_{name}")(kind)
        for name in ("list", "large_list", "fixed_size_list", "list_view", "large_list_view")
    )


def values(array: Any) -> list[Any]:
    """Python values; text may hold bytes that are not UTF-8, which become surrogates."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return values(array.storage)
    if pa.types.is_dictionary(kind):
        words = values(array.dictionary)
        return [None if index is None else words[index] for index in array.indices.to_pylist()]
    if is_text(kind) and not pa.types.is_run_end_encoded(kind):
        found = array.cast(pa.large_binary()).to_pylist()
        return [None if one is None else one.decode("utf-8", "surrogateescape") for one in found]
    if pa.types.is_timestamp(kind):
        return array.cast(pa.string()).to_pylist()
    return array.to_pylist()


def texts(array: Any) -> list[str | None]:
    """A column of text, or of byte strings that hold text (Impala, Hive), as text."""
    return [
        one.decode("utf-8", "surrogateescape") if isinstance(one, bytes) else one
        for one in values(array)
    ]


def images(array: Any) -> tuple[list[bytes | None], list[str | None]]:
    """The bytes of each image in a column, and its path if the column is a struct."""
    if not pa.types.is_struct(storage(array.type)):
        return values(array), [None] * len(array)
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    names = [field.name for field in array.type]
    parts = dict(zip(names, array.flatten(), strict=True))  # a null struct makes all parts null
    nothing: list[str | None] = [None] * len(array)
    return values(parts["bytes"]), texts(parts["path"]) if "path" in parts else nothing


def labels(array: Any, class_names: Sequence[str] | None = None) -> list[str]:
    """A column of labels as text; "" if there is no label.

    A list becomes one text with `;` between its labels. Whole numbers lose their ".0". An integer
    of a Hugging Face `ClassLabel` becomes its name, and one outside `class_names` (-1 is used for
    images without a label) becomes "".

    Raises:
        DataError: a label in a list contains `;`, which separates labels.
    """
    return [label_text(one, class_names) for one in values(array)]


def class_names(schema: pa.Schema, column: str) -> tuple[str, ...] | None:
    """The names of a Hugging Face `ClassLabel` column, or of a list of them; else None."""
    try:
        about = json.loads((schema.metadata or {}).get(HUGGING_FACE, b"null"))
        feature: Any = about["info"]["features"][column]
        while True:
            if isinstance(feature, list):
                feature = cast("list[Any]", feature)[0]
            elif feature.get("_type") == "ClassLabel":
                return tuple(map(str, feature["names"]))
            else:
                feature = feature["feature"]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return None
