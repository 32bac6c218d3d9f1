"""Feedback over a real server: several workers, restarts, the client, and evaluation."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

import quincunx
from benchmarks.ports import free_port
from service.feedback.reading import read_feedback
from tests.support.images import coloured, encoded
from tests.support.server import Server, serving
from tests.support.shipped import ROOT
from tests.support.tiny import tiny_package

RED, BLUE = (encoded(coloured(colour)) for colour in ("red", "blue"))
PATIENCE_S = 60


def children(server: Server) -> list[int]:
    listed = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return [int(pid) for pid in listed.split()]


def test_two_workers_share_their_answers_and_one_log(tmp_path: Path) -> None:
    package, log = tiny_package(tmp_path / "tiny"), tmp_path / "log"
    with serving([package], tmp_path, workers=2, feedback_folder=str(log)) as server:
        ids = []
        for number in range(12):  # a new connection each: both workers answer some of them
            response = httpx.post(
                f"{server.url}/classify", files={"image": RED if number % 2 else BLUE}, timeout=60
            )
            ids.append(response.raise_for_status().json()["request_id"])
        told: Counter[str] = Counter()
        for request_id in ids:
            body = {"request_id": request_id, "label": "red"}
            got = httpx.post(f"{server.url}/feedback", json=body, timeout=60).raise_for_status()
            assert got.json()["source"] == "server"
            told[got.json()["outcome"]] += 1
        assert told == {"right": 6, "wrong": 6}

        for pid in children(server):  # their rows are on the disk, and the memory stays
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with quincunx.Client(server.url) as client:
                    again = client.feedback(ids[0], label="blue")
                break
            except quincunx.errors.QuincunxError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert (again.outcome, again.source) == ("right", "server")
    rows = read_feedback(log)
    assert {row.request_id for row in rows} == set(ids)
    assert len(rows) == 12
    assert not list(log.glob("*.tmp"))


async def test_both_clients_send_feedback(tmp_path: Path) -> None:
    package, log = tiny_package(tmp_path / "tiny"), tmp_path / "log"
    with serving([package], tmp_path, feedback_folder=str(log)) as server:
        with quincunx.Client(server.url) as client:
            results = client.classify_batch([RED, BLUE])
            about = client.feedback(results.request_id, image=1, label="blue")
            assert (about.outcome, about.predicted) == ("right", "blue")
            answer = client.classify(RED)
            assert client.feedback(answer, label="red").outcome == "right"
            assert client.feedback(answer.request_id, index=1, note="no").outcome == "wrong"
            refused: list[dict[str, Any]] = [{"label": "purple"}, {"label": "red", "foreign": True}]
            for wrong in refused:
                with pytest.raises(quincunx.errors.UsageError):
                    client.feedback(answer, **wrong)
        async with quincunx.AsyncClient(server.url) as client:
            answer = await client.classify(BLUE)
            old = answer.model_copy(update={"request_id": "forgotten"})
            got = await client.feedback(old, foreign=True)
            assert (got.outcome, got.source, got.predicted) == ("wrong", "client", "blue")


def test_a_folder_that_cannot_be_written_ends_the_start(tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "tiny")
    (tmp_path / "taken").write_bytes(b"")
    environment = {**os.environ, "QUINCUNX_FEEDBACK_FOLDER": str(tmp_path / "taken")}
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", "serve", str(package), "--port", str(free_port())],
        capture_output=True, text=True, env=environment, cwd=ROOT, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert "QUINCUNX_FEEDBACK_FOLDER" in done.stderr
    assert "Traceback" not in done.stderr


def test_evaluate_scores_a_log(tmp_path: Path) -> None:
    package, log = tiny_package(tmp_path / "tiny"), tmp_path / "log"
    with (
        serving([package], tmp_path, feedback_folder=str(log)) as server,
        quincunx.Client(server.url) as client,
    ):
        for data, label in ((RED, "red"), (RED, "green"), (BLUE, "blue")):
            client.feedback(client.classify(data), label=label)
        client.feedback("never-seen", label="red")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "service.cli", "evaluate", str(package), "--feedback"]

    def evaluated(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, env=environment, timeout=120
        )

    done = evaluated(str(log), "--json")
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout)
    assert (scores["right"]["count"], scores["right"]["images"]) == (2, 3)
    assert scores["unknown_ids"] == 1
    assert "did not know: 1" in done.stderr
    assert "Green" in evaluated(str(next(log.iterdir()))).stdout
    assert evaluated(str(tmp_path / "nowhere")).returncode == 1
    refused = evaluated(str(log), "--tta", "none", "--report", "x")
    assert refused.returncode == 2
    assert "--tta, --report" in refused.stderr
