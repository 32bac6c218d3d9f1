"""`Client`: a Quincunx server as Python methods with typed results."""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Self, cast

import httpx

from service.api.documentation import schemas
from service.client.answers import BatchResults, Health, batch_results, parsed
from service.client.arguments import takes_embed_options, takes_options
from service.client.exchange import Call, Send, Wait, exchange
from service.client.failures import shown_url
from service.client.images import Image
from service.client.network import Network, until
from service.client.requests import (
    MODELS,
    PROBES,
    arguments_of,
    checked_timeout,
    classify_batch_call,
    classify_call,
    embed_call,
    feedback_call,
    health_of,
    model_call,
    settings_of,
)
from service.errors import QuincunxError, UsageError

UPLOAD_BYTES = 16 * 1024


class _Upload(httpx.SyncByteStream):
    """The body of a request in small parts, which are sent until a deadline."""

    def __init__(self, body: Iterable[bytes], deadline: float) -> None:
        self._body = body
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        for part in self._body:
            for start in range(0, len(part), UPLOAD_BYTES):
                if time.monotonic() > self._deadline:
                    raise httpx.WriteTimeout("the upload is slow")
                yield part[start : start + UPLOAD_BYTES]


class Client:
    """A client of one server. It keeps connections open; threads and processes may share it.

        with quincunx.Client("http://127.0.0.1:3000") as client:
            answer = client.classify("photo.jpg", tta="five_crop")
            print(answer.name, answer.probability)

    Options are those of the HTTP API (docs/http.md), as keyword arguments. They are checked before
    an image is sent. Every method raises the errors of `quincunx.errors`: that of the answer,
    `Unreachable` if no server answers, and `DeadlineExceeded` after `timeout_s` seconds. These
    seconds bound the whole call: connecting, sending, reading the answer, and retries. Answers
    429 and 503 are retried within them, after the time of their Retry-After.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:3000",
        *,
        key: str | None = None,
        timeout_s: float = 60,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`key` is an API key, if the server asks for one. `timeout_s` bounds each call.

        `transport` replaces the network, as httpx documents. `timeout_s` limits each wait of such a
        transport, not their sum.

        Raises:
            UsageError: `url` is not an http or https address, `timeout_s` is not positive, or the
                environment names a proxy that cannot be used.
        """
        self._timeout_s = checked_timeout(timeout_s)
        self._settings = settings_of(url, key)
        self._url = shown_url(self._settings["base_url"])
        self._transport = transport
        self._http = self._opened()

    def _opened(self) -> httpx.Client:
        self._process = os.getpid()
        transport = self._transport or Network(self._settings["base_url"])
        return httpx.Client(transport=transport, **self._settings)

    def _of_this_process(self) -> httpx.Client:
        """A process that was forked opens connections of its own.

        Two processes that send on one connection would get each other's answers.
        """
        forked = self._process != os.getpid()
        if forked and self._transport is None and not self._http.is_closed:
            self._http = self._opened()
        return self._http

    @takes_options
    def classify(self, image: Image, **options: Any) -> schemas.ClassifyAnswer:
        """Classify one image: the bytes of a file, a path, a PIL image, or uint8[H, W, 3].

        The image is sent as it is. Pixels are sent as PNG.

        Raises:
            QuincunxError: the server refused the image or the options, or failed.
        """
        return parsed(self._run(classify_call(image, options)), schemas.ClassifyAnswer)

    @takes_options
    def classify_batch(self, images: Iterable[Image], **options: Any) -> BatchResults:
        """Classify many images in one request: one result or error for each, in order.

        It is a list that also has the `request_id`.
        An error of one image is returned in its place, not raised. The server limits the number
        of images (QUINCUNX_MAX_IMAGES) and the size of the request (QUINCUNX_MAX_REQUEST_BYTES).

        Raises:
            QuincunxError: the server refused the request as a whole.
        """
        return batch_results(self._run(classify_batch_call(images, options)))

    def feedback(
        self,
        answer: schemas.ClassifyAnswer | str,
        *,
        label: str | None = None,
        index: int | None = None,
        foreign: bool = False,
        note: str | None = None,
        image: int = 0,
    ) -> schemas.FeedbackAnswer:
        """Say whether an answer was right; the server stores it in its feedback log.

        `answer` is what `classify` returned, or the id of a request. `label` is the id or name of
        the right class, or `index` its index. `foreign`: none of the classes is right. Without all
        three the answer is wrong, and the right class is not known. `image` is the position of the
        image in a request of many.

        Raises:
            FeedbackOff: the server takes no feedback (QUINCUNX_FEEDBACK_FOLDER).
            UsageError: the label is not a class of the model, or the values do not go together.
            FeedbackNotStored: the server's log is full or cannot be written.
        """
        call = feedback_call(answer, label, index, foreign, note, image)
        return parsed(self._run(call), schemas.FeedbackAnswer)

    @takes_embed_options
    def embed(self, image: Image, **options: Any) -> schemas.EmbedAnswer:
        """The embedding of one image; the options are tta, boxes, gate_cost and model.

        Raises:
            QuincunxError: the model has no embeddings, or as `classify`.
        """
        return parsed(self._run(embed_call(image, options)), schemas.EmbedAnswer)

    def models(self) -> list[schemas.ModelSummary]:
        """The served models; the first one is the default."""
        return parsed(self._run(MODELS), schemas.ModelList).models

    def model(self, name: str) -> schemas.ModelDetail:
        """The model NAME or NAME@VERSION, with its classes and measurements."""
        return parsed(self._run(model_call(name)), schemas.ModelDetail)

    def health(self) -> Health:
        """Whether the server lives and is ready, asked once. It does not raise."""
        begun = time.monotonic()
        live, ready = PROBES
        return health_of(self._tried(live, begun), self._tried(ready, begun))

    def _tried(self, call: Call, begun: float) -> httpx.Response | QuincunxError:
        try:
            return self._run(call, begun)
        except QuincunxError as error:
            return error

    def _run(self, call: Call, begun: float | None = None) -> httpx.Response:
        if self._http.is_closed:
            raise UsageError("this client is closed")
        steps = exchange(call, self._url, self._timeout_s, begun=begun)
        got: httpx.Response | httpx.HTTPError | None = None
        while True:
            try:
                step = steps.send(got)
            except StopIteration as end:
                return end.value
            got = self._do(call, step)

    def _do(self, call: Call, step: Send | Wait) -> httpx.Response | httpx.HTTPError | None:
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            return None
        try:
            return self._sent(call, step)
        except httpx.HTTPError as error:
            return error

    def _sent(self, call: Call, step: Send) -> httpx.Response:
        deadline = time.monotonic() + step.timeout_s
        http = self._of_this_process()
        request = http.build_request(**arguments_of(call, step))
        request.stream = _Upload(cast(Iterable[bytes], request.stream), deadline)
        with until(deadline), closing(http.send(request, stream=True)) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer is slow", request=request)
                body += chunk
            headers = response.headers.copy()
            headers.pop("content-encoding", None)  # `iter_bytes` has unpacked the body
            return httpx.Response(
                response.status_code,
                headers=headers,
                content=bytes(body),
                request=request,
            )

    def close(self) -> None:
        """Close the connections."""
        self._of_this_process().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
