"""docs/http.md: every example runs against a real server, and the page is complete."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.api.documentation import schemas
from service.api.documentation.openapi import ERRORS, openapi
from service.api.options import FIELDS
from service.errors import ClientError, QuincunxError, ServerError, code_name
from service.feedback.request import FeedbackRequest
from tests.support.images import drawn, encoded
from tests.support.markdown import cells_of
from tests.support.server import Server, serving
from tests.support.shipped import ROOT, SHIPPED

TEXT = (ROOT / "docs" / "http.md").read_text()
JPEG = {"Content-Type": "image/jpeg"}
PROBES = ("/livez", "/readyz")
"""Paths whose answers are empty."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def curls() -> list[str]:
    lines = "\n".join(blocks("sh")).replace("\\\n", "").splitlines()
    return [line for line in lines if line.strip()]


@pytest.fixture(scope="module", name="shipped")
def _shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("documented")
    log = str(folder / "feedback")
    with serving(
        [SHIPPED], folder, admin_keys="admin-key", precision="int8", feedback_folder=log
    ) as running:
        yield running


@pytest.fixture(scope="module", name="folder")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the page names."""
    folder = tmp_path_factory.mktemp("reader")
    photo = encoded(drawn(300, 400), "JPEG")
    (folder / "photo.jpg").write_bytes(photo)
    (folder / "other.jpg").write_bytes(encoded(drawn(400, 300, seed=1), "JPEG"))
    (folder / "broken.jpg").write_bytes(photo[:100])
    (folder / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    return folder


def run(command: list[str], server: Server, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ADMIN_KEY": "admin-key"}
    local = [part.replace("http://127.0.0.1:3000", server.url) for part in command]
    done = subprocess.run(local, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("command", curls())
def test_every_curl_gets_the_answer_that_the_page_states(
    command: str, shipped: Server, folder: Path
) -> None:
    assert command.startswith("curl ")
    command, _, stated = command.partition("  # ")
    out = run(
        ["bash", "-c", f"{command} --silent --show-error --write-out '\\n%{{http_code}}'"],
        shipped, folder,
    )  # fmt: skip
    body, _, status = out.rpartition("\n")
    assert status == (stated or "200"), body
    assert body.strip() or command.endswith(PROBES)


def test_the_python_examples_run_in_order(shipped: Server, folder: Path) -> None:
    out = run([sys.executable, "-W", "error", "-c", "\n".join(blocks("python"))], shipped, folder)
    assert "refused:" in out
    for line in ("400 UsageError", "404 UnknownModel", "415 UnsupportedImage", "422 BadImage"):
        assert line in out


@pytest.mark.parametrize(
    ("example", "query"), [(0, "?tta=five_crop&top_k=2&coverage=0.95"), (1, "?top_k=0")]
)
def test_the_answers_shown_have_the_fields_of_real_ones(
    example: int, query: str, shipped: Server, folder: Path
) -> None:
    shown = json.loads(blocks("json")[example])
    url = f"{shipped.url}/classify{query}"
    got = httpx.post(url, content=(folder / "photo.jpg").read_bytes(), headers=JPEG).json()
    assert list(got) == list(shown)
    if example:
        assert {**got["error"], "request_id": ""} == {**shown["error"], "request_id": ""}
    else:
        for field in ("model", "precision", "calibrated", "passes", "cost"):
            assert got[field] == shown[field]
        assert [list(one) for one in got["predictions"]] == [
            list(one) for one in shown["predictions"]
        ]


def test_every_path_and_option_has_examples_of_both_kinds() -> None:
    python, sh = "\n".join(blocks("python")), "\n".join(curls())
    for path, operations in openapi()["paths"].items():
        for method, operation in operations.items():
            assert f"`{method.upper()} {path}`" in TEXT
            for parameter in operation.get("parameters", []):
                assert parameter["name"] in TEXT
        assert re.sub(r"\{.*", "", path) in sh
    for name in FIELDS:
        assert re.search(rf"[?&=' ]{name}=", sh), name
        assert f"{name}=" in python, name


def test_the_options_have_their_values_and_bounds() -> None:
    rows = {row[0].content: row[1].content for row in cells_of(TEXT) if len(row) == 3}
    for parameter in openapi()["paths"]["/classify"]["post"]["parameters"]:
        schema = parameter["schema"]
        if parameter["in"] == "query":
            values = rows[f"`{parameter['name']}`"]
            for value in schema["anyOf"][0].get("enum", []):
                assert f"`{value}`" in values
            for bound in ("minimum", "maximum"):
                if (number := schema["anyOf"][0].get(bound)) is not None:
                    assert re.search(rf"\b{number:g}\b", values)


def test_every_field_of_an_answer_is_explained() -> None:
    shapes = (
        schemas.ClassifyAnswer, schemas.ClassProbability, schemas.ViewResult, schemas.Heatmap,
        schemas.Timing, schemas.ImageSize, schemas.ModelDetail, schemas.BatchAnswer,
        FeedbackRequest, schemas.FeedbackAnswer,
    )  # fmt: skip
    for shape in shapes:
        for name in shape.model_fields:
            assert f"`{name}`" in TEXT, f"{shape.__name__}.{name}"


def tree(root: type[QuincunxError]) -> Iterator[type[QuincunxError]]:
    for child in root.__subclasses__():
        yield child
        yield from tree(child)


def test_every_error_has_a_row_with_its_status_code_and_class() -> None:
    rows = [[cell.content for cell in row] for row in cells_of(TEXT) if len(row) == 5]
    for kind in (*tree(ClientError), *tree(ServerError)):
        assert any(
            row[0] == str(kind.status) and f"`{code_name(kind)}`" in row[1]
            and f"`{kind.__name__}`" in row[4]
            for row in rows
        ), kind  # fmt: skip
    assert {str(status) for status in ERRORS} <= {row[0] for row in rows}
