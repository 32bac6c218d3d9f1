"""`AsyncClient`: the methods of `Client` as coroutines."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import httpx

from service.api.documentation import schemas
from service.client.answers import BatchResults, Health, batch_results, parsed
from service.client.arguments import takes_embed_options, takes_options
from service.client.exchange import Call, Send, Wait, exchange
from service.client.failures import shown_url
from service.client.images import Image
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
from service.errors import DeadlineExceeded, QuincunxError, UsageError

MAX_AT_ONCE = 100
"""Requests of one event loop that run at once; more wait for their turn. httpx has as many
connections. If more requests waited inside httpx, it would search all of them after each answer,
which takes longer than the answers."""


@dataclass(frozen=True)
class _Connections:
    """What belongs to one event loop."""

    http: httpx.AsyncClient
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_AT_ONCE))


class AsyncClient:
    """The asynchronous client of one server: the same methods as those of `Client`, awaited.

        async with quincunx.AsyncClient("http://127.0.0.1:3000") as client:
            answer = await client.classify("photo.jpg", tta="five_crop")

    Tasks may share it, also those of several event loops. Each loop has its own connections, and
    `close` closes those of the loop that runs it. Up to 100 requests of a loop run at once. Others
    wait for their turn, which counts as time of their call.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:3000",
        *,
        key: str | None = None,
        timeout_s: float = 60,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """The arguments and errors are those of `Client`."""
        self._timeout_s = checked_timeout(timeout_s)
        self._settings = settings_of(url, key)
        self._transport = transport
        self._url = shown_url(self._settings["base_url"])
        self._loops: dict[asyncio.AbstractEventLoop, _Connections] = {}

    def _of_this_loop(self) -> _Connections:
        """A connection belongs to the event loop that opened it, and cannot be used in another."""
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            self._loops = {one: own for one, own in self._loops.items() if not one.is_closed()}
            http = httpx.AsyncClient(transport=self._transport, **self._settings)
            self._loops[loop] = _Connections(http)
        return self._loops[loop]

    @takes_options
    async def classify(self, image: Image, **options: Any) -> schemas.ClassifyAnswer:
        """See `Client.classify`."""
        call = partial(classify_call, image, options)
        return parsed(await self._run(call), schemas.ClassifyAnswer)

    @takes_options
    async def classify_batch(self, images: Iterable[Image], **options: Any) -> BatchResults:
        """See `Client.classify_batch`."""
        call = partial(classify_batch_call, images, options)
        return batch_results(await self._run(call))

    async def feedback(
        self,
        answer: schemas.ClassifyAnswer | str,
        *,
        label: str | None = None,
        index: int | None = None,
        foreign: bool = False,
        note: str | None = None,
        image: int = 0,
    ) -> schemas.FeedbackAnswer:
        """See `Client.feedback`."""
        call = feedback_call(answer, label, index, foreign, note, image)
        return parsed(await self._run(call), schemas.FeedbackAnswer)

    @takes_embed_options
    async def embed(self, image: Image, **options: Any) -> schemas.EmbedAnswer:
        """The embedding of one image; the options are tta, boxes, gate_cost and model.

        Raises:
            QuincunxError: the model has no embeddings, or as `classify`.
        """
        call = partial(embed_call, image, options)
        return parsed(await self._run(call), schemas.EmbedAnswer)

    async def models(self) -> list[schemas.ModelSummary]:
        """The served models; the first one is the default."""
        return parsed(await self._run(MODELS), schemas.ModelList).models

    async def model(self, name: str) -> schemas.ModelDetail:
        """The model NAME or NAME@VERSION, with its classes and measurements."""
        return parsed(await self._run(model_call(name)), schemas.ModelDetail)

    async def health(self) -> Health:
        """Whether the server lives and is ready, asked once. It does not raise."""
        return health_of(*await asyncio.gather(*map(self._tried, PROBES)))

    async def _tried(self, call: Call) -> httpx.Response | QuincunxError:
        try:
            return await self._run(call)
        except QuincunxError as error:
            return error

    async def _run(self, wanted: Call | Callable[[], Call]) -> httpx.Response:
        """The answer. A function that makes the call may read or encode files."""
        begun, own = time.monotonic(), self._of_this_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                await own.turns.acquire()
        except TimeoutError:
            raise DeadlineExceeded(
                f"the request was not sent within {self._timeout_s:g} s (timeout_s), because "
                f"{MAX_AT_ONCE} others of this client were running; start fewer at once"
            ) from None
        try:
            call = wanted if isinstance(wanted, Call) else await asyncio.to_thread(wanted)
            if own.http.is_closed:
                raise UsageError("this client is closed")
            return await self._exchanged(own.http, call, begun)
        finally:
            own.turns.release()

    async def _exchanged(self, http: httpx.AsyncClient, call: Call, begun: float) -> httpx.Response:
        steps = exchange(call, self._url, self._timeout_s, begun=begun)
        got: httpx.Response | httpx.HTTPError | None = None
        while True:
            try:
                step = steps.send(got)
            except StopIteration as end:
                return end.value
            got = await _do(http, call, step)

    async def close(self) -> None:
        """Close the connections."""
        await self._of_this_loop().http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def _do(
    http: httpx.AsyncClient, call: Call, step: Send | Wait
) -> httpx.Response | httpx.HTTPError | None:
    if isinstance(step, Wait):
        await asyncio.sleep(step.seconds)
        return None
    try:
        # The timeouts of httpx bound each wait for the network, and not their sum.
        async with asyncio.timeout(step.timeout_s):
            return await http.request(**arguments_of(call, step))
    except TimeoutError:
        return httpx.ReadTimeout("the answer is slow")
    except httpx.HTTPError as error:
        return error
