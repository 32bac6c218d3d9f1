"""The options of a request as keyword arguments. Names, types and bounds are those of the server.

They come from `RequestOptions`, so a new option of the server needs no change here.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar, cast

from pydantic.fields import FieldInfo

from service.api.options import EMBED_OPTIONS, FIELDS, RequestOptions
from service.inference.image.geometry import FractionBox
from service.inference.option_text import as_text, boxes_text, kind_of, no_option, read_text

Method = TypeVar("Method", bound=Callable[..., Any])


def form_fields(options: Mapping[str, Any], only: Collection[str] = FIELDS) -> dict[str, str]:
    """The options as form fields. An option of None is not sent.

    An option that has a text form, such as `boxes`, may be that text. `only` are the options that
    there are.

    Raises:
        UsageError: an unknown option, or a value of a wrong type or out of bounds.
    """
    given = {name: _read(name, value) for name, value in options.items() if value is not None}
    for name in given:
        if name not in only:
            raise no_option(name, only)
    checked = RequestOptions(**given)
    return {name: _text(getattr(checked, name)) for name in given}


def _read(name: str, value: Any) -> Any:
    field = FIELDS.get(name)
    if field is not None and _has_text(field) and isinstance(value, str):
        return read_text(name, value, FIELDS)
    return value


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return boxes_text(cast(tuple[FractionBox, ...], value))
    if isinstance(value, frozenset):
        return ",".join(sorted(cast(frozenset[str], value)))
    return str(value)


def _kind(field: FieldInfo) -> Any:
    return kind_of(field) | str if _has_text(field) else kind_of(field)


def _has_text(field: FieldInfo) -> bool:
    return as_text(field) is not None


def takes_options(method: Method, only: Collection[str] = FIELDS) -> Method:
    """Show the options by name in `help()` and in editors, instead of `**options`."""
    own = inspect.signature(method)
    kept = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_kind(field) | None
        )
        for name, field in FIELDS.items()
        if name in only
    ]
    cast(Any, method).__signature__ = own.replace(parameters=[*kept, *options])
    return method


def takes_embed_options(method: Method) -> Method:
    """As `takes_options`, with the options of `/embed`."""
    return takes_options(method, EMBED_OPTIONS)
