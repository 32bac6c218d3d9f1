"""The tensors of an answer: which of them a model gives, and what they hold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.api.oip.reply import Numbers
from service.api.oip.request import EMBEDDING, FLAG, OUTPUT, SCORE, SET, Output
from service.api.options import RequestOptions
from service.api.server.model_set import Served
from service.errors import UsageError
from service.inference.tta.model import Model
from service.inference.tta.steps import Classification, check_embeds


def more_outputs(served: Served) -> list[dict[str, Any]]:
    """What the metadata says of the outputs beside the probabilities."""
    model = served.predictor.model
    found: list[dict[str, Any]] = []
    if _scores(model, RequestOptions()):
        found.append({"name": SCORE, "datatype": "FP32", "shape": [-1]})
        found.append({"name": FLAG, "datatype": "BOOL", "shape": [-1]})
    if any(model.calibration(mode).conformal for mode in model.modes):
        classes = len(model.manifest.labels)
        found.append({"name": SET, "datatype": "BOOL", "shape": [-1, classes]})
    if model.embeds:
        channels = model.manifest.graph.embedding
        found.append({"name": EMBEDDING, "datatype": "FP32", "shape": [-1, channels]})
    return found


def wanted(outputs: Sequence[Output], asked: RequestOptions, served: Served) -> tuple[Output, ...]:
    """The outputs of the answer, before any work is done.

    Raises:
        UsageError: a named output that this model, or these options, do not give.
    """
    model = served.predictor.model
    found: list[Output] = []
    for output in outputs:
        if output.name in (SCORE, FLAG) and not _scores(model, asked):
            if output.if_there:
                continue
            raise UsageError(
                f"no output {output.name}: {served.tag} has no unknown score for "
                f"tta={model.mode(asked)} and known_rate={asked.known_rate or 'default'}"
            )
        if output.name == SET and asked.coverage is None:
            if output.if_there:
                continue
            raise UsageError(f"the output {SET} needs the parameter coverage")
        if output.name == EMBEDDING:
            check_embeds(model.manifest)
        found.append(output)
    return tuple(found)


def tensors_of(
    outputs: Sequence[Output], answers: Sequence[Classification]
) -> list[tuple[Output, Numbers]]:
    """Each output with its values for all images.

    An output of the unknown score is left out where the mode that was applied has none.
    """
    unknowns = [answer.unknown for answer in answers if answer.unknown is not None]
    found: list[tuple[Output, Numbers]] = []
    for output in outputs:
        if output.name == OUTPUT:
            rows = np.stack([answer.probabilities for answer in answers])
            found.append((output, rows.astype(np.float32)))
        elif output.name == EMBEDDING:
            vectors = [answer.embedding for answer in answers if answer.embedding is not None]
            found.append((output, np.stack(vectors)))
        elif output.name == SET:
            found.append((output, np.stack([_members(answer) for answer in answers])))
        elif len(unknowns) == len(answers):
            scores = np.array([one.score for one in unknowns], np.float32)
            flags = np.array([one.is_unknown for one in unknowns], np.bool_)
            found.append((output, scores if output.name == SCORE else flags))
    return found


def _members(answer: Classification) -> NDArray[np.bool_]:
    """bool[K]: the classes of the prediction set."""
    members = np.zeros(len(answer.probabilities), np.bool_)
    members[list(answer.prediction_set or ())] = True
    return members


def about_unknown(answers: Sequence[Classification]) -> dict[str, float]:
    """Parameters of the answer: the threshold of the unknown score, and its known rate."""
    for answer in answers:
        if answer.unknown is not None:
            return {
                "unknown_threshold": answer.unknown.threshold,
                "known_rate": answer.unknown.known_rate,
            }
    return {}


def _scores(model: Model, asked: RequestOptions) -> bool:
    return model.unknown_curve(model.mode(asked), asked.known_rate) is not None
