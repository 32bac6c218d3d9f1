"""Whatever bytes arrive, the answer is the sender's fault or right; the server goes on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.inference.decode import FORMATS
from tests.support.app import Running, in_process
from tests.support.images import coloured, encoded

REAL = [encoded(coloured("red", 70, 90), kind) for kind in FORMATS]
SETTINGS = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@asynccontextmanager
async def serving(package: Path) -> AsyncIterator[Running]:
    """Serve the package. At the end it must still answer."""
    async with in_process(package) as running:
        yield running
        after = await running.client.post("/classify", files={"image": REAL[0]})
        assert after.json()["label"] == "red"


@SETTINGS
@given(
    body=st.binary(max_size=400),
    kind=st.sampled_from(
        [
            "multipart/form-data; boundary=x",
            "multipart/form-data",
            "image/png",
            "text/plain",
            "",
            "é",
        ]
    ),
    path=st.sampled_from(["/classify", "/classify_batch", "/v2/models/tiny/infer"]),
)
async def test_arbitrary_bodies_give_no_5xx(
    package: Path, body: bytes, kind: str, path: str
) -> None:
    async with serving(package) as running:
        headers = [(b"content-type", kind.encode())]
        response = await running.client.post(path, content=body, headers=headers)
        assert response.status_code < 500


@SETTINGS
@given(
    real=st.sampled_from(REAL),
    at=st.floats(0, 1),
    junk=st.binary(min_size=1, max_size=40),
    cut=st.floats(0.05, 1),
)
async def test_mutated_images_give_no_5xx(
    package: Path, real: bytes, at: float, junk: bytes, cut: float
) -> None:
    async with serving(package) as running:
        start = int(at * len(real))
        data = (real[:start] + junk + real[start + len(junk) :])[: int(cut * len(real))]
        response = await running.client.post("/classify", files={"image": data})
        assert response.status_code < 500


@SETTINGS
@given(query=st.lists(st.tuples(st.text(max_size=12), st.text(max_size=20)), max_size=4))
async def test_arbitrary_options_give_no_5xx(package: Path, query: list[tuple[str, str]]) -> None:
    async with serving(package) as running:
        response = await running.client.post(
            "/classify", params=tuple(query), files={"image": REAL[1]}
        )
        assert response.status_code < 500


@SETTINGS
@given(
    name=st.sampled_from(["tta", "top_k", "coverage", "boxes", "include", "gate_cost", "model"]),
    value=st.text(max_size=30) | st.floats().map(str) | st.integers().map(str),
)
async def test_arbitrary_values_give_no_5xx(package: Path, name: str, value: str) -> None:
    async with serving(package) as running:
        query = {"tta": "custom", "boxes": "0,0,1,1"} | {name: value}
        response = await running.client.post("/classify", params=query, files={"image": REAL[1]})
        assert response.status_code < 500
