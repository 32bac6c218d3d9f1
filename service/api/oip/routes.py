"""The Open Inference Protocol, version 2, over HTTP.

There is one input: `images`, UINT8 [N, H, W, 3], raw pixels; or `encoded`, BYTES [N], image files.
The first output is `probabilities`, FP32 [N, K], after TTA and calibration. (The classes of a
multi-label model are independent, so its rows need not sum to 1.) With the `classification`
extension it is BYTES [N, n] of `probability:index:label`. A model with an unknown score also gives
`unknown_score`, FP32 [N], and `is_unknown`, BOOL [N]. With the parameter `coverage` there is
`prediction_set`, BOOL [N, K]. `embedding`, FP32 [N, C], comes if a request asks for it. The options
of `/classify` are parameters.

Nothing is cast. Another datatype, a number that is not a whole number from 0 to 255, and a
parameter that does not apply here are errors.
"""

import asyncio
import time
from collections.abc import Awaitable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from service.api.classify import Work, answer_json, resolve, run_image
from service.api.context import Context
from service.api.degrade import applied_mode
from service.api.http.bodies import read_body
from service.api.http.compression import LEAST_BYTES, choose, deflate
from service.api.http.deadlines import timeout_of
from service.api.http.problems import headers_of, json_response, message_of, note_failure, status_of
from service.api.oip.outputs import about_unknown, more_outputs, tensors_of, wanted
from service.api.oip.reply import Reply, check_size
from service.api.oip.request import Inference, json_length, read_request
from service.api.oip.tensors import Limits
from service.api.options import FIELDS, RequestOptions, query_options, read_options
from service.api.server.model_set import ModelSet, Served
from service.api.server.models import Models
from service.errors import ClientError, DeadlineExceeded, UnknownModel, UsageError
from service.inference.image.views import Pixels
from service.inference.tta.steps import Classification
from service.package.manifest import Mode
from service.scheduler.queue import StageTimings

Answered = tuple[Classification, StageTimings]
PLATFORM = "onnxruntime_onnx"
EXTENSIONS = ["classification", "binary_tensor_data"]
PATHS = (
    "/v2, /v2/health/live, /v2/health/ready, and of /v2/models/{model}[/versions/{version}]: "
    "itself, /ready and POST /infer"
)
QUICK_BYTES = 4096
"""JSON of up to this many bytes is read on the event loop: another thread would take longer."""
QUICK_NUMBERS = 4096
"""Up to this many probabilities are written on the event loop."""


def oip_problem(request: Request, error: Exception) -> Response:
    """An error in the protocol's shape: `{"error": "message"}`."""
    note_failure(error, request.state.request_id)
    message = message_of(error)
    if isinstance(error, HTTPException):
        message = f"{message}: {request.method} {request.url.path[:200]!r}; there are {PATHS}"
    return json_response({"error": message}, status_of(error), headers_of(error))


class Oip:
    """The handlers of `/v2`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        # Python runs one thread at a time: JSON of several requests at once would take no less
        # time, and the event loop would wait for all of them.
        self._reading = asyncio.Lock()

    async def server(self, _: Request) -> Response:
        """`GET /v2`."""
        return json_response({"name": "quincunx", "version": "2", "extensions": EXTENSIONS})

    async def live(self, _: Request) -> Response:
        """`GET /v2/health/live`."""
        return json_response({"live": True})

    async def ready(self, _: Request) -> Response:
        """`GET /v2/health/ready`."""
        ready = self.context.models.ready
        return json_response({"ready": ready}, 200 if ready else 503)

    async def model_ready(self, request: Request) -> Response:
        """`GET /v2/models/{model}[/versions/{version}]/ready`."""
        served = self._served(request, self.context.models)
        return json_response({"name": served.name, "ready": True})

    async def metadata(self, request: Request) -> Response:
        """`GET /v2/models/{model}[/versions/{version}]`."""
        served = self._served(request, self.context.models)
        classes = len(served.predictor.manifest.labels)
        versions = [other.version for other in self.context.models if other.name == served.name]
        return json_response(
            {
                "name": served.name,
                "versions": versions,
                "platform": PLATFORM,
                "inputs": [
                    {"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
                    {"name": "encoded", "datatype": "BYTES", "shape": [-1]},
                ],
                "outputs": [
                    {"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]},
                    *more_outputs(served),
                ],
                "parameters": _parameters(served),
            }
        )

    async def infer(self, request: Request) -> Response:
        """`POST /v2/models/{model}[/versions/{version}]/infer`."""
        with self.context.models.borrow() as models:
            answer = await self._infer(request, self._served(request, models))
        return await _packed(answer, request.headers.get("accept-encoding", ""))

    async def _infer(self, request: Request, served: Served) -> Response:
        settings = self.context.settings
        _check_query(request)
        timeout_s = timeout_of(request, settings)
        served.batcher.admission.check(1, timeout_s)  # so that no body is read in vain
        started = time.perf_counter()
        body = await read_body(request, settings.max_request_bytes, timeout_s)
        left_s = timeout_s - (time.perf_counter() - started)
        asked_for, images = await self._read(request, body, left_s)
        timeout_s = asked_for.deadline_s(timeout_s) - (time.perf_counter() - started)
        if timeout_s <= 0:
            raise DeadlineExceeded("the deadline passed while the body was read")
        labels = [label.name for label in served.predictor.manifest.labels]
        asked_for.check_model(served.name, served.version)
        channels = served.predictor.manifest.graph.embedding or 0
        asked = read_options([], asked_for.options).model_copy(update={"model": served.tag})
        outputs = wanted(asked_for.outputs, asked, served)
        check_size(outputs, len(images), labels, channels)
        answers, applied = await self._classify(
            images, asked, served, timeout_s, request.state.request_id
        )
        reply = Reply(
            model_name=served.name,
            model_version=served.version,
            id=asked_for.id,
            parameters={
                "tta_applied": applied,
                "calibrated": served.predictor.model.is_calibrated(applied),
                **about_unknown(answers),
            },
        )
        request.state.log.update(model=served.tag, images=len(images), tta=applied)
        tensors = tensors_of(outputs, answers)
        if sum(values.size for _, values in tensors) <= QUICK_NUMBERS:
            return reply.send(tensors, labels)
        return await asyncio.to_thread(reply.send, tensors, labels)

    async def _read(
        self, request: Request, body: bytes, timeout_s: float
    ) -> tuple[Inference, list[bytes] | list[Pixels]]:
        settings = self.context.settings
        until = time.monotonic() + timeout_s
        limits = Limits(settings.max_images, settings.max_pixels, until)
        length = json_length(request.headers.get("inference-header-content-length"), len(body))

        def read() -> tuple[Inference, list[bytes] | list[Pixels]]:
            asked_for = read_request(body, length)
            return asked_for, asked_for.input.images(limits)

        if length <= QUICK_BYTES:
            return read()
        try:
            async with asyncio.timeout(timeout_s), self._reading:
                return await asyncio.to_thread(read)
        except TimeoutError:
            raise DeadlineExceeded("the deadline passed while the body waited to be read") from None

    async def _classify(
        self,
        images: list[bytes] | list[Pixels],
        asked: RequestOptions,
        served: Served,
        timeout_s: float,
        request_id: str,
    ) -> tuple[list[Classification], Mode]:
        context = self.context
        mode = resolve(asked, served)
        applied = applied_mode(asked, mode, served, context.settings, timeout_s)
        works = [Work(image, served, asked.in_mode(applied), False) for image in images]
        views = served.views(applied, asked.boxes) * len(works)
        with served.batcher.admission.admit(views, timeout_s):
            tasks = [
                asyncio.ensure_future(
                    _named(number, len(works), run_image(context, work, asked, timeout_s))
                )
                for number, work in enumerate(works)
            ]
            try:
                done = await asyncio.gather(*tasks)
            finally:
                # A tensor has one answer, so one bad image fails the whole request.
                for task in tasks:
                    task.cancel()
        if context.feedback is not None:
            predict = served.predictor.predict
            given = [answer_json(predict(item, 1), asked, served, applied) for item, _ in done]
            context.feedback.remember(request_id, given)
        return [answer for answer, _ in done], applied

    def _served(self, request: Request, models: ModelSet | Models) -> Served:
        name = request.path_params["model"]
        version = request.path_params.get("version")
        served = models.get(f"{name}@{version}" if version else name)
        if served.name != name:
            raise UnknownModel(f"no model {name[:80]!r}")
        return served


async def _named(number: int, images: int, answer: Awaitable[Answered]) -> Answered:
    """The answer to one image. A refusal of it says which of several images it is, from 0."""
    try:
        return await answer
    except ClientError as error:
        if images == 1:
            raise
        raise type(error)(f"image {number} of {images}: {error}") from error


def _parameters(served: Served) -> dict[str, str | bool]:
    """What the metadata says beyond the protocol: values are text, numbers or truth values."""
    model = served.predictor.model
    default = model.manifest.default_mode
    return {
        "modes": ",".join(model.modes),
        "default_tta": default,
        "calibrated": model.is_calibrated(default),
    }


def _check_query(request: Request) -> None:
    """Raises UsageError for an option in the query: the protocol has none there."""
    for name, _ in query_options(request.scope["query_string"]):
        if name in FIELDS:
            raise UsageError(
                f"{name} is in the query; here options are request parameters: "
                f'{{"parameters": {{"{name}": ...}}}}'
            )


async def _packed(response: Response, accept_encoding: str) -> Response:
    """The answer, compressed if the client asks for it and the answer is long enough."""
    coding = choose(accept_encoding)
    if coding is None or len(response.body) < LEAST_BYTES:
        return response
    response.body = await asyncio.to_thread(deflate, bytes(response.body), coding)
    response.headers["Content-Length"] = str(len(response.body))
    response.headers["Content-Encoding"] = coding
    response.headers["Vary"] = "Accept-Encoding"
    return response
