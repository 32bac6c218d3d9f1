"""Values of a recipe from --set, and the messages about values that do not fit."""

import json
from typing import Any

from pydantic import ValidationError

from service.console.nearest import with_hint
from service.console.requirement import requirement
from service.errors import UsageError

LISTS = {"stages": "stage", "mixes": "mix"}
"""Fields of a recipe that hold a list of groups, with the name of one item."""


def override_value(data: dict[str, Any], text: str) -> None:
    """Change one value of a recipe's JSON: `text` is KEY=VALUE, such as ``stage.1.epochs=8``.

    Raises:
        UsageError: no such key, or no KEY=VALUE.
    """
    path, equals, raw = text.partition("=")
    if not equals:
        raise UsageError(f"--set must be KEY=VALUE, but got {text!r}")
    *parents, leaf = path.strip().split(".")
    node: Any = data
    whole = {item: name for name, item in LISTS.items()}
    for key in [whole.get(key, key) for key in parents]:
        node = _child(node, key, path)
    _child(node, leaf, path)
    try:
        value = json.loads(raw)
    except json.JSONDecodeError:
        value = raw
    if isinstance(node, list | tuple):
        raise UsageError(f"{path!r} names a whole {_item(path)}; name one of its values")
    node[leaf] = value


def _child(node: Any, key: str, path: str) -> Any:
    if isinstance(node, list | tuple):
        if key.isdigit() and 1 <= int(key) <= len(node):
            return node[int(key) - 1]
        whole = next((name for name, item in LISTS.items() if item == _item(path)), "items")
        if not node:
            raise UsageError(f"{path!r}: the recipe has no {whole}; set them all: {whole}=[…]")
        raise UsageError(f"{path!r}: {whole} are counted from 1 to {len(node)}, but got {key!r}")
    if isinstance(node, dict) and key in node:
        return node[key]
    known = list(node) if isinstance(node, dict) else []
    message = f"--set {path!r}: no key {key!r}; known keys: {', '.join(known) or 'none'}"
    items = [LISTS[name] for name in known if name in LISTS]
    raise UsageError(with_hint(message, key, [*known, *items]))


def said(error: ValidationError) -> str:
    """The first error, worded like an override."""
    first = error.errors()[0]
    parts = list(first["loc"])
    if len(parts) > 1 and parts[0] in LISTS:  # counted from 1, as in --set
        parts[:2] = [LISTS[parts[0]], int(parts[1]) + 1]
    path = ".".join(["recipe", *map(str, parts)])
    got = first["input"]
    match first["type"]:
        case "unexpected_keyword_argument":
            return f"{path} is not a key of a recipe"
        case "dataclass_type":
            return f"{path} is a group of values; name one of them, as in {path}.KEY"
        case "literal_error":
            wanted = first.get("ctx", {})["expected"].replace("'", "").replace(" or ", ", ")
            return with_hint(
                f"{path} must be one of {wanted}, but got {got!r}", str(got), wanted.split(", ")
            )
        case "tuple_type":
            return f"{path} must be a list of items, but got {got!r}"
        case "missing" if isinstance(first["loc"][-1], int):
            parent, items = path.rpartition(".")[0], len(error.errors()) + len(got)
            return f"{parent} must be a list of {items} items, but got {got!r}"
        case _:
            reason = requirement(first)
            between = " " if reason.startswith("must ") else ": "
            return f"{path}{between}{reason}, but got {got!r}"


def _item(path: str) -> str:
    """The name of one item of the list that `path` begins with."""
    first = path.strip().partition(".")[0]
    return LISTS.get(first, first)
