"""Scoring in processes: the rows of the threads, and an end without any process left behind."""

import errno
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.errors import OutOfResources
from service.inference.predictor import Predictor
from service.inference.runtime.session import Session
from service.inference.tta.steps import Options
from service.package.manifest import Mode
from service.scoring import score
from service.scoring.groups import GroupEnds, groups
from service.scoring.item import Item
from service.scoring.options import ScoreOptions, Speed, default_processes
from service.scoring.pipeline import score_items
from service.scoring.processes import pool
from service.scoring.rows import Row
from service.scoring.scorer import Scorer
from tests.support import scoring
from tests.support.scoring import drawn_items, image_folder, interrupted, located, run_score

IN_THREADS = Speed(batch_views=8, chunk_images=4, decode_threads=3, infer_threads=2,
                   decode_processes=0)  # fmt: skip
IN_PROCESSES = replace(IN_THREADS, decode_processes=2)


def items_of(count: int, folder: Path | None = None) -> list[Item]:
    """Drawn images of several shapes, in files if there is a folder; some cannot be read."""
    found = drawn_items(count)
    if folder is not None:
        found = [_in_file(item, folder) for item in found]
    found[1] = Item("text.png", b"no image")
    found[5] = Item("missing.png")
    found[6] = Item("shard.tar", error="DataError: the archive breaks off")
    return found


def _in_file(item: Item, folder: Path) -> Item:
    path = folder / item.path
    path.write_bytes(item.read())
    return Item(str(path), label="red")


def rows_of(scorer: Scorer, items: list[Item], speed: Speed) -> list[Row]:
    """The rows without the times, which differ from run to run."""
    found = scoring.rows_of(scorer, items, speed)
    return [replace(row, decode_ms=None, infer_ms=None) for row in found]


OTHERS: set[psutil.Process] = set()
"""Children of the test run that were there before a test: servers of other tests."""


@pytest.fixture(autouse=True)
def _others() -> None:
    OTHERS.clear()
    OTHERS.update(psutil.Process().children())


def children() -> set[psutil.Process]:
    return set(psutil.Process().children()) - OTHERS


def bound(predictor: Predictor) -> Predictor:
    """The predictor with fixed buffers, as on a GPU."""
    path = predictor.package.path("fp32")
    session = Session.open(path, provider="cpu", threads=1, io_binding=True)
    return replace(predictor, session=session)


@pytest.mark.parametrize("tta", ["none", "five_crop", "dense", "adaptive"])
@pytest.mark.parametrize("fixed_buffers", [False, True])
def test_rows_equal_those_of_threads_to_the_last_bit(
    predictor: Predictor, tmp_path: Path, tta: Mode, fixed_buffers: bool
) -> None:
    predictor = bound(predictor) if fixed_buffers else predictor
    options = ScoreOptions(
        Options(tta=tta), top_k=3, single=True, all_probabilities=True, sha256=True
    )
    scorer = Scorer(predictor, options, 8)
    items = items_of(14, tmp_path) + items_of(9)
    assert rows_of(scorer, items, IN_PROCESSES) == rows_of(scorer, items, IN_THREADS)
    assert not children()


def test_crops_that_share_layers_are_asked_for(predictor: Predictor) -> None:
    options = ScoreOptions(Options(tta="ten_crop"), top_k=3, all_probabilities=True)
    scorer = Scorer(predictor, options, 8)
    items = items_of(9)
    assert rows_of(scorer, items, IN_PROCESSES) == rows_of(scorer, items, IN_THREADS)


def test_large_images_end_a_chunk_in_the_same_places(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that came with the items end a group; the rows stay equal."""
    monkeypatch.setattr("service.scoring.groups.GROUP_BYTES", 20_000)
    scorer = Scorer(predictor, ScoreOptions(top_k=3, all_probabilities=True), 8)
    items = items_of(17)
    sizes = [len(group) for group in groups(located(items), 4)]
    assert len(set(sizes)) > 1
    assert sum(sizes) == len(items)
    yielded = [len(rows) for rows in score_items(located(items), scorer, IN_THREADS)]
    assert yielded == sizes
    assert [len(rows) for rows in score_items(located(items), scorer, IN_PROCESSES)] == sizes


def test_a_group_ends_at_images_or_bytes() -> None:
    ends = GroupEnds(3)
    small, large = Item("a", b"1"), Item("b", b"1" * (33 << 20))
    assert [ends.at(item) for item in (small, small, small, small, large, small)] == [
        False, False, True, False, True, False,
    ]  # fmt: skip


def test_a_worker_that_dies_is_replaced(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer(predictor, ScoreOptions(top_k=3, all_probabilities=True), 8)
    items = items_of(16)
    wanted = rows_of(scorer, items, IN_THREADS)
    killed: list[int] = []
    original = pool.Worker.rows

    def rows(self: pool.Worker, group: Any, network: Any) -> list[Row]:
        if len(killed) < 1:
            killed.append(self._process.pid)
            self._process.kill()
            self._process.wait()
        return original(self, group, network)

    monkeypatch.setattr(pool.Worker, "rows", rows)
    assert rows_of(scorer, items, IN_PROCESSES) == wanted
    assert killed


def test_a_worker_that_dies_within_a_message_is_replaced(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`multiprocessing` reports this by another error than a death between two messages."""
    scorer = Scorer(predictor, ScoreOptions(top_k=3, all_probabilities=True), 8)
    items = items_of(16)
    wanted = rows_of(scorer, items, IN_THREADS)
    died: list[socket.socket] = []
    original = pool.Worker.rows

    def rows(self: pool.Worker, group: Any, network: Any) -> list[Row]:
        if not died:
            ours, theirs = socket.socketpair()
            died.append(theirs)
            theirs.sendall(struct.pack("!i", 1000) + b"the start")
            theirs.shutdown(socket.SHUT_WR)
            self._pipe.close()
            self._pipe = Connection(ours.detach())
        return original(self, group, network)

    monkeypatch.setattr(pool.Worker, "rows", rows)
    assert rows_of(scorer, items, IN_PROCESSES) == wanted
    died[0].close()


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE, errno.ENOSPC])
def test_memory_that_cannot_be_shared_ends_the_run_and_blames_no_image(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("service.scoring.processes.block.mmap.mmap", fail)
    with pytest.raises(OutOfResources, match=rf"{os.strerror(number)}.*--decode-processes"):
        rows_of(Scorer(predictor, ScoreOptions(top_k=1), 8), items_of(9), IN_PROCESSES)
    assert not children()


def test_a_worker_that_dies_twice_ends_the_run(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = pool.Worker.rows

    def rows(self: pool.Worker, group: Any, network: Any) -> list[Row]:
        os.kill(self._process.pid, signal.SIGSEGV)
        return original(self, group, network)

    monkeypatch.setattr(pool.Worker, "rows", rows)
    scorer = Scorer(predictor, ScoreOptions(top_k=1), 8)
    with pytest.raises(OutOfResources, match=r"signal 11 while it decoded images from \d+.png"):
        rows_of(scorer, items_of(8), IN_PROCESSES)
    assert not children()


def test_few_images_start_few_processes(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []

    class Counted(pool.Worker):
        def __init__(self, setup: Any) -> None:
            started.append(setup)
            super().__init__(setup)

    monkeypatch.setattr(pool, "Worker", Counted)
    scorer = Scorer(predictor, ScoreOptions(top_k=1), 8)
    few = located(items_of(8)[:4])
    assert sum(map(len, score_items(few, scorer, replace(IN_PROCESSES, decode_processes=9)))) == 4
    assert len(started) == 1


def test_from_a_script_without_a_main_guard(package: Path, tmp_path: Path) -> None:
    """The script of the caller is not imported again, and its standard input is not read."""
    folder = image_folder(tmp_path / "photos", each=2)
    program = (
        "from quincunx import score\n"
        "from service.scoring.options import Speed\n"
        f"rows = list(score({str(folder)!r}, {str(package)!r}, speed=Speed(decode_processes=2)))\n"
        "print(len(rows), all(row.ok for row in rows))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(program)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, cwd=tmp_path, input="", text=True,
        capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "6 True\n", done.stderr


def test_an_interrupted_run_goes_on_in_processes(package: Path, tmp_path: Path) -> None:
    folder, whole = image_folder(tmp_path / "photos", each=8, side_px=64), tmp_path / "whole.csv"
    out = tmp_path / "out.csv"
    common = (folder, "--model", package, "--no-timing", "--chunk-images", 4)
    assert run_score(*common, "-o", whole).exit_code == 0
    interrupted(*common, "--decode-processes", 0, out=out, images=8)
    again = run_score(*common, "-o", out, "--decode-processes", 2)
    assert again.exit_code == 0, again.stderr
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("text", ["-1", "many", "2.5", "1025", "٣"])
def test_a_wrong_number_of_processes_is_refused(package: Path, tmp_path: Path, text: str) -> None:
    options = ("--model", package, "--decode-processes", text)
    refused = run_score(tmp_path, "-o", tmp_path / "out.csv", *options)
    assert refused.exit_code == 2
    assert "--decode-processes must be auto or a whole number from 0 to 1024" in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_run_leaves_no_process(
    package: Path, tmp_path: Path, number: signal.Signals
) -> None:
    folder = image_folder(tmp_path / "photos", each=1)
    first = next((folder / "red").iterdir())
    for copy in range(5000):
        os.link(first, folder / "red" / f"copy{copy}.png")
    out = tmp_path / "out.jsonl"
    options = ("--model", package, "--decode-processes", 2, "--chunk-images", 4)
    run = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "score", *map(str, (folder, "-o", out, *options))],
        cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    parent = psutil.Process(run.pid)
    while not (workers := parent.children()) and run.poll() is None:
        time.sleep(0.02)
    run.send_signal(number)
    _, errors = run.communicate(timeout=60)
    assert "Traceback" not in errors
    assert run.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130}.get(number, 143)
    assert workers
    assert not psutil.wait_procs(workers, timeout=30)[1]


def test_auto_uses_processes_on_a_gpu_only() -> None:
    assert default_processes("cpu", 16) == 0
    assert Speed().resolved("cpu", 16).decode_processes == 0
    if sys.platform != "win32":
        assert default_processes("cuda", 16) == 15
        assert default_processes("cuda", 1) == 1
    assert Speed(decode_processes=3).resolved("cpu", 2).decode_processes == 3


def test_the_python_function_takes_processes(package: Path, tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "photos", each=3)
    speed = Speed(decode_processes=1)
    rows = list(score(folder, package, tta="none", speed=speed))
    assert [row.top for row in rows] == [row.top for row in score(folder, package, tta="none")]
