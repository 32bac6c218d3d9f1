"""`GET /docs`: the OpenAPI document as a page for people. It has no scripts."""

import base64
import hashlib
from functools import cache
from html import escape
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from service.api.documentation.openapi import ANYWHERE, openapi
from service.api.documentation.schema_text import Json, code, default, kind, prose, table

STYLE = (Path(__file__).parent / "docs.css").read_text("utf-8")
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
SERVER = "{server}"
"""Stands in the page for the address of the server."""


async def docs_page(request: Request) -> Response:
    """Answer with the page. Its examples have the address that the client used."""
    server = escape(str(request.base_url).rstrip("/"))
    return HTMLResponse(_page().replace(escape(SERVER), server), headers=HEADERS)


@cache
def _page() -> str:
    document = openapi()
    info = document["info"]
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    listed = [
        (f'<a href="#{one["operationId"]}">{code(f"{method} {path}")}</a>', prose(one["summary"]))
        for method, path, one in operations
    ]
    shapes: dict[str, Json] = document["components"]["schemas"]
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(info["title"])}: HTTP API</title>
<link rel="icon" href="page/icon.svg" type="image/svg+xml">
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(info["title"])} {escape(info["version"])}: HTTP API</h1>
<p>{escape(info["description"])}
The same as OpenAPI, for programs: <a href="docs.json">docs.json</a>.
In Python use {code("quincunx.Client")}, which has the same options.</p>
<p>A server that needs a key takes it as {code("Authorization: Bearer KEY")} or as
{code("X-API-Key: KEY")}.</p>
{table(("endpoint", "what it does"), listed)}
{"".join(_operation(*one) for one in operations)}
<h2 id="anywhere">Errors of every endpoint</h2>
{table(("status", "meaning"), _responses(operations[0][2], anywhere=True))}
<h2 id="shapes">Shapes of bodies</h2>
{"".join(_shape(name, shapes[name]) for name in sorted(shapes))}
</main>
</body>
</html>
"""


def _operation(method: str, path: str, operation: Json) -> str:
    parts = [
        f'<section id="{operation["operationId"]}">\n<h2>{code(f"{method} {path}")}</h2>\n'
        f"<p>{prose(operation['summary'])}</p>\n"
        f"<pre>{escape(_curl(method, path, operation))}</pre>\n"
    ]
    if "requestBody" in operation:
        parts.append("<h3>Body</h3>\n<ul>\n")
        for media, content in operation["requestBody"]["content"].items():
            parts.append(f"<li>{code(media)}: {_body(content['schema'])}</li>\n")
        parts.append("</ul>\n")
    if "parameters" in operation:
        rows = [
            (
                code(one["name"]),
                escape(one["in"]),
                kind(one["schema"]),
                default(one["schema"]),
                prose(one["description"]),
            )
            for one in operation["parameters"]
        ]
        parts.append("<h3>Options</h3>\n")
        parts.append(table(("name", "in", "values", "default", "meaning"), rows))
    rows = _responses(operation, anywhere=False)
    parts.append(f"<h3>Answers</h3>\n{table(('status', 'meaning'), rows)}")
    parts.append('<p>And <a href="#anywhere">the errors of every endpoint</a>.</p>\n</section>\n')
    return "".join(parts)


def _body(schema: Json) -> str:
    if "$ref" in schema:
        return kind(schema)
    files = ", ".join(
        f"{kind(schema['properties'][name])} in the field {code(name)}"
        for name in schema.get("required", [])
    )
    return f"{files}; options may be other fields" if files else "the image itself"


def _responses(operation: Json, *, anywhere: bool) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for status, response in operation["responses"].items():
        if (int(status) in ANYWHERE) == anywhere:
            content = response.get("content", {}).get("application/json")
            shape = f": {kind(content['schema'])}" if content else ""
            rows.append((code(status), f"{prose(response['description'])}{shape}"))
    return rows


def _curl(method: str, path: str, operation: Json) -> str:
    words = ["curl"]
    content: Json = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        words += ["-H 'Content-Type: application/json'", '-d \'{"request_id": "ID"}\'']
    elif content:
        form = content["multipart/form-data"]["schema"]
        field = form["required"][0]
        words += [f"-F {field}=@photo.jpg"] * (2 if field == "images" else 1)
    elif method != "GET":
        words.append(f"-X {method}")
    if operation.get("security", [{}])[0]:
        words.append("-H 'Authorization: Bearer KEY'")
    return " ".join([*words, f"{SERVER}{path.replace('{name}', 'NAME')}"])


def _shape(name: str, schema: Json) -> str:
    rows = [
        (code(field), kind(value), prose(value.get("description", "")))
        for field, value in schema.get("properties", {}).items()
    ]
    about = prose(schema.get("description", ""))
    return (
        f'<section id="shape-{escape(name)}">\n<h3>{escape(name)}</h3>\n<p>{about}</p>\n'
        f"{table(('field', 'values', 'meaning'), rows)}</section>\n"
    )
