"""JSON schemas as short HTML: what values a field may have."""

import re
from html import escape
from typing import Any

Json = dict[str, Any]


def kind(schema: Json) -> str:
    """The values that `schema` allows. Null and the empty value of an option are left out."""
    if "$ref" in schema:
        return shape_link(schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema:
        kinds = [kind(one) for one in schema["anyOf"] if not _is_nothing(one)]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if "const" in schema:
        return code(schema["const"])
    if schema.get("type") == "array":
        if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])} {kind(schema['prefixItems'][0])}s"
        item = kind(schema["items"]) if "items" in schema else ""
        return "files" if item == "file" else f"list of {item}"
    if schema.get("format") == "binary":
        return "file"
    return escape(_scalar(schema))


def default(schema: Json) -> str:
    """The default value, or nothing."""
    found = [one["default"] for one in (schema, *schema.get("anyOf", [])) if "default" in one]
    return code(found[0]) if found and found[0] is not None else ""


def code(value: object) -> str:
    return f"<code>{escape(str(value))}</code>"


def prose(text: str) -> str:
    """Text whose `words in backticks` are code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def shape_link(name: str) -> str:
    """A link to the table of a shape."""
    return f'<a href="#shape-{escape(name)}">{escape(name)}</a>'


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>\n" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>\n'


def _is_nothing(schema: Json) -> bool:
    return schema.get("type") == "null" or None in schema.get("enum", ())


def _scalar(schema: Json) -> str:
    name = str(schema.get("type", "anything"))
    names = {"string": "text", "boolean": "true or false", "integer": "whole number"}
    text = names.get(name, name)
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{text} from {low:g} to {high:g}"
    if low is not None:
        return f"{text} of at least {low:g}"
    examples = schema.get("examples", [])
    return f"{text}, such as {examples[0]}" if examples else text
