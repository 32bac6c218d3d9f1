"""`POST /embed`: the embedding of one image, without classes."""

import time
from typing import Any

from service.api.classify import Work, embedding_json, resolve, run_image
from service.api.context import Context
from service.api.degrade import applied_mode
from service.api.options import EMBED_OPTIONS, RequestOptions
from service.api.server.model_set import ModelSet
from service.errors import UsageError
from service.inference.tta.steps import check_embeds


def check_embed_options(asked: RequestOptions) -> None:
    """Raises UsageError for an option that means nothing for embeddings."""
    if others := sorted(asked.model_fields_set - EMBED_OPTIONS):
        raise UsageError(
            f"{others[0]} is not an option of /embed; its options are: "
            f"{', '.join(sorted(EMBED_OPTIONS))}"
        )


async def embed_one(
    context: Context, models: ModelSet, data: bytes, asked: RequestOptions, timeout_s: float
) -> dict[str, Any]:
    """The embedding of one image by one of `models`, which the caller has borrowed.

    Raises:
        QuincunxError: the image is invalid, the model has no embeddings, or there is no time.
    """
    started = time.perf_counter()
    served = models.get(asked.model)
    check_embeds(served.predictor.manifest)
    # An embedding is not labelled as known or unknown.
    asked = asked.model_copy(update={"known_rate": "off"})
    applied = applied_mode(asked, resolve(asked, served), served, context.settings, timeout_s)
    with served.batcher.admission.admit(served.views(applied, asked.boxes), timeout_s):
        work = Work(data, served, asked.in_mode(applied), False)
        left_s = timeout_s - (time.perf_counter() - started)
        answer, _ = await run_image(context, work, asked, left_s)
    return {
        "model": served.tag,
        "precision": served.predictor.precision,
        "embedding": embedding_json(answer.embedding),
        "tta_requested": served.predictor.model.mode(asked),
        "tta_applied": applied,
        "passes": answer.passes,
        "cost": round(answer.cost, 4),
    }
