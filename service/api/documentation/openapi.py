"""The OpenAPI document, built from the schemas and the options that the server uses."""

from collections.abc import Collection
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.documentation import schemas
from service.api.options import EMBED_OPTIONS, FIELDS, RequestOptions
from service.feedback.request import FeedbackRequest
from service.version import own_version

Json = dict[str, Any]

ERRORS = {
    400: "An invalid option or body, or options that do not go together",
    401: "No key, or a wrong one",
    403: "A web page of another origin that QUINCUNX_CORS_ORIGINS does not name",
    404: "No such model, or the server takes no feedback",
    408: "The request did not arrive in time",
    413: "Over a limit on bytes, pixels, images or decoding",
    414: "The path and query have too many bytes",
    415: "A type or format that is not accepted",
    421: "The request is for a name that is not one of this server",
    422: "No readable image, or one too small for a view",
    429: "Refused at once: too much work is waiting; Retry-After says when to try again",
    431: "The headers are too many or have too many bytes",
    500: "The server failed; the log has the reason under the request id",
    503: "Loading or shutting down",
    504: "Admitted, but not answered in time",
    507: "The folder of feedback is full or cannot be written",
}
ANYWHERE = (400, 408, 414, 421, 431)
"""Errors of requests that reach no handler: a malformed head, a limit on it, a foreign name."""
TIMEOUT: Json = {
    "name": "X-Request-Timeout-Ms",
    "in": "header",
    "description": "The deadline of this request in milliseconds",
    "schema": {"type": "integer", "minimum": 1},
}
KEYS: list[Json] = [{"bearer": []}, {"header": []}]
"""How a request sends a key, if it needs one."""
SHOWN: list[type[BaseModel]] = [
    schemas.ClassifyAnswer,
    schemas.BatchAnswer,
    schemas.EmbedAnswer,
    schemas.ErrorAnswer,
    schemas.ModelList,
    schemas.ModelDetail,
    schemas.Reloaded,
    schemas.FeedbackAnswer,
]


@cache
def openapi() -> Json:
    """The document, OpenAPI 3.1."""
    _, definitions = models_json_schema(
        [*((model, "serialization") for model in SHOWN), (FeedbackRequest, "validation")],
        ref_template="#/components/schemas/{model}",
    )
    binary: Json = {"type": "string", "format": "binary"}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Quincunx",
            "version": own_version(),
            "description": "Image classification with five-crop test-time augmentation.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/classify": {
                "post": _operation(
                    "classify",
                    "Classify one image.",
                    schemas.ClassifyAnswer,
                    ERRORS,
                    parameters=[*_query(), TIMEOUT],
                    requestBody=_body("image", binary, raw=True),
                )
            },
            "/classify_batch": {
                "post": _operation(
                    "classify_batch",
                    "Classify many images: one result or error each, in order.",
                    schemas.BatchAnswer,
                    ERRORS,
                    parameters=[*_query(), TIMEOUT],
                    requestBody=_body("images", {"type": "array", "items": binary}, raw=False),
                )
            },
            "/embed": {
                "post": _operation(
                    "embed",
                    "The embedding of one image.",
                    schemas.EmbedAnswer,
                    ERRORS,
                    parameters=[*_query(EMBED_OPTIONS), TIMEOUT],
                    requestBody=_body("image", binary, raw=True, only=EMBED_OPTIONS),
                )
            },
            "/feedback": {
                "post": _operation(
                    "feedback",
                    "Say whether an answer was right.",
                    schemas.FeedbackAnswer,
                    (401, 403, 404, 413, 429, 503, 507),
                    requestBody={"required": True, "content": _json(FeedbackRequest)},
                )
            },
            "/models": {
                "get": _operation("list_models", "The served models.", schemas.ModelList, (401,))
            },
            "/models/{name}": {
                "get": _operation(
                    "show_model",
                    "One model: labels and measurements.",
                    schemas.ModelDetail,
                    (401, 404),
                    parameters=[
                        {
                            "name": "name",
                            "in": "path",
                            "required": True,
                            "description": "NAME or NAME@VERSION",
                            "schema": {"type": "string"},
                        }
                    ],
                )
            },
            "/models/reload": {
                "post": _operation(
                    "reload_models",
                    "Verify the packages on the disk again and serve them; needs an admin key.",
                    schemas.Reloaded,
                    (401, 403, 500),
                    security=KEYS,
                )
            },
            "/livez": {"get": _plain("livez", "The process lives.", (200,))},
            "/readyz": {"get": _plain("readyz", "Models are loaded and warm.", (200, 503))},
            "/metrics": {"get": _plain("metrics", "Prometheus metrics.", (200,))},
        },
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{}, *KEYS],
    }


def _options() -> dict[str, tuple[Json, str]]:
    """The JSON schema and the description of every option, from the model that reads them."""
    options: dict[str, tuple[Json, str]] = {}
    for name, schema in RequestOptions.model_json_schema()["properties"].items():
        default, text = schema.pop("default"), schema.pop("description")
        kinds: list[Json] = schema.pop("anyOf", [])
        for kind in kinds[:1]:  # the second one is null
            schema.update(kind)
        if isinstance(default, (str, int)):
            schema["default"] = default
        del schema["title"]
        options[name] = schema, text
    return options


def _query(only: Collection[str] = FIELDS) -> list[Json]:
    return [
        {"name": name, "in": "query", "description": text, "schema": _or_nothing(schema)}
        for name, (schema, text) in _options().items()
        if name in only
    ]


def _or_nothing(schema: Json) -> Json:
    """An option may be sent without a value, as HTML forms and BentoML's clients do."""
    nothing: Json = {"enum": ["", "null", None], "description": "As if it were not sent"}
    return {"anyOf": [schema, nothing]}


def _body(file_field: str, file_schema: Json, *, raw: bool, only: Collection[str] = FIELDS) -> Json:
    options = {
        name: {**_or_nothing(schema), "description": text}
        for name, (schema, text) in _options().items()
        if name in only
    }
    form: Json = {
        "type": "object",
        "required": [file_field],
        "properties": {file_field: file_schema, **options},
        "additionalProperties": False,
    }
    content: Json = {"multipart/form-data": {"schema": form}}
    if raw:
        for kind in ("image/*", "application/octet-stream"):
            content[kind] = {"schema": {"type": "string", "format": "binary"}}
    return {"required": True, "content": content}


def _operation(name: str, summary: str, answer: type[BaseModel], errors: Any, **more: Any) -> Json:
    responses: Json = {"200": {"description": "The answer", "content": _json(answer)}}
    for status in sorted({*errors, *ANYWHERE}):
        response: Json = {
            "description": ERRORS[status],
            "content": _json(schemas.ErrorAnswer),
        }
        if status == 429:
            seconds: Json = {"schema": {"type": "integer"}, "description": "Seconds"}
            response["headers"] = {"Retry-After": seconds}
        responses[str(status)] = response
    return {"operationId": name, "summary": summary, "responses": responses, **more}


def _json(model: type[BaseModel]) -> Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


def _plain(name: str, summary: str, statuses: tuple[int, ...]) -> Json:
    responses: Json = {
        str(status): {"description": "Yes" if status == 200 else "No"} for status in statuses
    }
    for status in ANYWHERE:
        content = _json(schemas.ErrorAnswer)
        responses[str(status)] = {"description": ERRORS[status], "content": content}
    return {"operationId": name, "summary": summary, "responses": responses, "security": [{}]}
