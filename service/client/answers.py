"""Answers as typed results. Fields that a newer server adds are ignored."""

from dataclasses import dataclass
from typing import TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from service.api.documentation import schemas
from service.client.failures import error_from, shown_url
from service.errors import QuincunxError, Unreachable

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Health:
    """Whether a server lives, and whether it answers images."""

    live: bool
    ready: bool
    reason: str = ""
    """Why it is not ready."""


def parsed(response: httpx.Response, model: type[Model]) -> Model:
    """The answer as `model`.

    Raises:
        Unreachable: the answer has another shape, so it is not one of Quincunx.
    """
    try:
        return model.model_validate_json(response.content, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise Unreachable(
            f"{shown_url(response.request.url)} answered {response.status_code}, and not as "
            f"this version of Quincunx does: {where}: {first['msg']}"
        ) from None


class BatchResults(list[schemas.Classification | QuincunxError]):
    """One result or error for each image, in order; and the id of their request, for feedback."""

    request_id = ""


def batch_results(response: httpx.Response) -> BatchResults:
    """The results of `POST /classify_batch`."""
    answer = parsed(response, schemas.BatchAnswer)
    results = BatchResults(map(_result, answer.results))
    results.request_id = answer.request_id
    return results


def _result(
    item: schemas.Classification | schemas.ErrorAnswer,
) -> schemas.Classification | QuincunxError:
    if isinstance(item, schemas.Classification):
        return item
    error = item.error
    status = 400 if error.type == "client_error" else 500
    return error_from(status, error.code, error.message, error.request_id)
