"""The dispatcher sends requests to our application, and one path to BentoML through our gate."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from service.api.path_dispatcher import PathDispatcher

Calls = list[str]


class Ours:
    """Records which of its two entries is used."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.append("ours")

    async def through(self, app: Any, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls.append("gate")
        await app(scope, receive, send)


@pytest.fixture(name="calls")
def _calls() -> Iterator[Calls]:
    before, calls = PathDispatcher.http, Calls()
    PathDispatcher.http = Ours(calls)  # type: ignore[assignment]
    yield calls
    PathDispatcher.http = before


async def dispatch(calls: Calls, **scope: str) -> Calls:
    async def bentoml(*_: Any) -> None:
        calls.append("bentoml")

    async def unused(*_: Any) -> Any:
        raise AssertionError("the dispatcher itself reads and sends nothing")

    given = {"type": "http", "method": "GET", "path": "/", **scope}
    await PathDispatcher(bentoml)(given, unused, unused)
    return calls


@pytest.mark.parametrize("path", ["/", "/classify", "/schema.json/", "/schema", "//schema.json"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_requests_are_ours(calls: Calls, path: str, method: str) -> None:
    assert await dispatch(calls, path=path, method=method) == ["ours"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_schema_is_bentoml_s_behind_our_gate(calls: Calls, method: str) -> None:
    assert await dispatch(calls, path="/schema.json", method=method) == ["gate", "bentoml"]


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "DELETE"])
async def test_other_methods_on_the_schema_are_ours(calls: Calls, method: str) -> None:
    assert await dispatch(calls, path="/schema.json", method=method) == ["ours"]


async def test_the_lifespan_is_bentoml_s(calls: Calls) -> None:
    assert await dispatch(calls, type="lifespan") == ["bentoml"]


async def test_before_the_start_bentoml_answers(calls: Calls) -> None:
    PathDispatcher.http = None
    assert await dispatch(calls, path="/classify") == ["bentoml"]
