"""`POST /feedback`: what a user says about an answer."""

import asyncio
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from service.api.context import Context
from service.api.http.bodies import read_body
from service.api.http.problems import json_response
from service.api.options import query_options
from service.errors import DataError, FeedbackOff, UnknownModel, UsageError
from service.feedback.given import GivenAnswer, joined
from service.feedback.request import (
    SHOWN,
    FeedbackRequest,
    SentAnswer,
    read_feedback_request,
)
from service.feedback.row import FeedbackRow, Outcome, Source
from service.package.labels import LabelIndex
from service.package.manifest import Manifest
from service.scoring.task import SCORING_TASKS
from service.settings import variable_of


async def take_feedback(context: Context, request: Request) -> Response:
    """Store the feedback in the log of QUINCUNX_FEEDBACK_FOLDER.

    Raises:
        FeedbackOff: the setting is empty.
        UsageError: the body is not feedback, or the label is not a class of the model.
        FeedbackNotStored: the log is full or cannot be written.
    """
    desk = context.feedback
    if desk is None:
        raise FeedbackOff(
            f"this server takes no feedback: {variable_of('feedback_folder')} is empty; the "
            "operator sets it to a folder"
        )
    for name, _ in query_options(request.scope["query_string"]):
        raise UsageError(f"{name[:SHOWN]!r} is in the query; send JSON in the body")
    timeout_s = context.settings.request_timeout_ms / 1000
    body = await read_body(request, context.settings.max_request_bytes, timeout_s)
    said = read_feedback_request(bytes(body))
    found = await asyncio.to_thread(desk.recent.find, said.request_id, said.image)
    source: Source | None = "server" if found is not None else None
    if found is None and said.answer is not None:
        found, source = said.answer.given(), "client"
    manifest = _manifest(context, found)
    if source == "client" and said.answer is not None and manifest is not None:
        _check_answer(said.answer, manifest)
    row = FeedbackRow(
        time=datetime.now(UTC),
        request_id=said.request_id,
        image=said.image,
        label=_label(said, manifest),
        foreign=said.foreign,
        note=said.note,
        source=source,
        answer=found,
    )
    await desk.log.append(row)
    outcome = _outcome(row, manifest)
    context.metrics.feedback.labels(outcome).inc()
    return json_response(
        {
            "stored": True,
            "outcome": outcome,
            "label": row.label,
            "predicted": found and found.label,
            "model": found and found.model,
            "source": source,
            "request_id": request.state.request_id,
        }
    )


def _manifest(context: Context, answer: GivenAnswer | None) -> Manifest | None:
    """The manifest of the model that answered; None if it is not served now or not known."""
    try:
        return context.models.get(answer.model).predictor.manifest if answer else None
    except UnknownModel:
        return None


def _check_answer(answer: SentAnswer, manifest: Manifest) -> None:
    """Raises UsageError for an answer that the model cannot have given."""
    ids = {label.id for label in manifest.labels}
    for label in answer.classes():
        if label not in ids:
            raise UsageError(
                f"answer: {label[:SHOWN]!r} is not the id of a class of {answer.model}; send the "
                "answer unchanged"
            )


def _outcome(row: FeedbackRow, manifest: Manifest | None) -> Outcome:
    """Without the model, a label that differs from the answer's may be the name of its class."""
    if manifest is None and row.label is not None and row.outcome == "wrong":
        return "unknown"
    return row.outcome


def _label(said: FeedbackRequest, manifest: Manifest | None) -> str | None:
    """The id of the right class. It is checked only if the model is known."""
    if said.index is not None:
        if manifest is None:
            raise UsageError(
                "index needs the model that gave the answer, and the server does not know it; "
                "send label instead of index, or send the answer too"
            )
        if said.index >= len(manifest.labels):
            raise UsageError(
                f"index must be below {len(manifest.labels)}, the number of classes of "
                f"{manifest.name}, but got {said.index}"
            )
        return manifest.labels[said.index].id
    if said.label is None or manifest is None:
        return said.label
    parts = SCORING_TASKS[manifest.task].labels_in(said.label) or (said.label,)
    index = LabelIndex(manifest.labels)
    try:
        found = {part: index.find(part) for part in parts}
    except DataError as error:
        raise UsageError(f"label: {error}") from error
    for part, label_id in found.items():
        if label_id is None:
            raise UsageError(
                f"label {part[:SHOWN]!r} is not a class of {manifest.name}; GET /models/"
                f"{manifest.name} lists them. If none of them is right, send foreign: true"
            )
    return joined({label_id for label_id in found.values() if label_id is not None})
