"""The feedback log: stored rows stay readable when a folder or a writer fails."""

import asyncio
import errno
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import DataError, FeedbackNotStored
from service.feedback import log as log_module
from service.feedback.given import GivenAnswer
from service.feedback.log import FeedbackLog
from service.feedback.reading import read_feedback
from service.feedback.row import FeedbackRow, table_of

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
ANSWER = GivenAnswer("tiny@1", "red", 0.9, "int8", "dense", 1.5, True, 0.95, 1_700_000_000.0)
ROW = FeedbackRow(NOW, "id", 0, "red", False, None, "server", ANSWER)
LARGE = 1 << 30


def row(number: int) -> FeedbackRow:
    return replace(ROW, request_id=f"id-{number}", time=NOW + timedelta(seconds=number))


TEXT = st.none() | st.text(max_size=20)


@given(
    st.builds(
        FeedbackRow, st.just(NOW), st.just("id"), st.integers(0, 2**31 - 1), TEXT, st.booleans(),
        TEXT, st.sampled_from(["server", "client", None]), st.sampled_from([None, ANSWER]),
    )
)  # fmt: skip
def test_a_row_survives_its_table(one: FeedbackRow) -> None:
    assert FeedbackRow.of(table_of([one]).to_pylist()[0]) == one


@pytest.mark.parametrize(
    ("label", "foreign", "answer", "outcome"),
    [
        ("red", False, ANSWER, "right"),
        ("blue", False, ANSWER, "wrong"),
        (None, False, ANSWER, "wrong"),
        (None, True, ANSWER, "right"),
        (None, True, replace(ANSWER, is_unknown=False), "wrong"),
        (None, True, replace(ANSWER, is_unknown=None), "wrong"),
        (None, True, replace(ANSWER, is_unknown=None, label=""), "right"),
        ("red", False, None, "unknown"),
    ],
)
def test_outcomes(label: str | None, foreign: bool, answer: GivenAnswer, outcome: str) -> None:
    assert replace(ROW, label=label, foreign=foreign, answer=answer).outcome == outcome


def test_each_row_is_on_the_disk_when_it_was_added(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path / "new" / "folder", LARGE)
    log.open()
    for number in range(3):
        log.write([row(number)])
        assert read_feedback(log.folder) == [row(n) for n in range(number + 1)]
    assert len(list(log.folder.iterdir())) == 1


def test_a_full_file_and_a_new_day_begin_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "ROWS_PER_FILE", 2)
    now = NOW
    log = FeedbackLog(tmp_path, LARGE, lambda: now)
    for number in range(5):
        log.write([row(number)])
    assert len(list(tmp_path.iterdir())) == 3
    now += timedelta(days=1)
    log.write([row(5)])
    assert len(list(tmp_path.iterdir())) == 4
    assert read_feedback(tmp_path) == [row(n) for n in range(6)]


def test_a_file_that_was_moved_away_is_not_written_again(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, LARGE)
    log.write([row(0)])
    (first,) = tmp_path.iterdir()
    away = tmp_path / "away"
    away.mkdir()
    first.rename(away / first.name)
    log.write([row(1)])
    assert read_feedback(tmp_path) == [row(1)]
    assert read_feedback(away) == [row(0)]


def test_several_writers_lose_nothing(tmp_path: Path) -> None:
    logs = [FeedbackLog(tmp_path, LARGE) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: logs[n % 3].write([row(n)]), range(60)))
    assert read_feedback(tmp_path) == [row(n) for n in range(60)]
    assert len(list(tmp_path.iterdir())) == 3


def test_rows_that_wait_together_are_written_together(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, LARGE)
    written: list[int] = []
    write = log.write

    def counting(rows: list[FeedbackRow]) -> None:
        written.append(len(rows))
        write(rows)

    log.write = counting

    async def all_at_once() -> None:
        await asyncio.gather(*(log.append(row(n)) for n in range(50)))

    asyncio.run(all_at_once())
    assert sum(written) == 50
    assert len(written) <= 2
    assert len(read_feedback(tmp_path)) == 50


async def test_a_cancelled_request_takes_no_others_along(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path, LARGE)
    tasks = [asyncio.ensure_future(log.append(row(n))) for n in range(5)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(done[0], asyncio.CancelledError)
    assert done[1:] == [None] * 4
    assert {r.request_id for r in read_feedback(tmp_path)} >= {f"id-{n}" for n in range(1, 5)}


def test_over_the_limit_the_old_rows_stay_and_the_error_names_the_setting(tmp_path: Path) -> None:
    FeedbackLog(tmp_path, LARGE).write([row(0)])
    used = sum(path.stat().st_size for path in tmp_path.iterdir())
    log = FeedbackLog(tmp_path, used + 100)
    with pytest.raises(FeedbackNotStored, match="QUINCUNX_FEEDBACK_MAX_BYTES"):
        log.write([row(1)])
    assert read_feedback(tmp_path) == [row(0)]
    (tmp_path / next(tmp_path.iterdir()).name).unlink()
    log.write([row(2)])  # there is room again
    assert read_feedback(tmp_path) == [row(2)]


async def test_every_row_of_a_failed_write_gets_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FeedbackLog(tmp_path, LARGE)
    log.write([row(0)])

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(log_module, "replacing_file", full)
        got = await asyncio.gather(*(log.append(row(n)) for n in (1, 2)), return_exceptions=True)
    assert all("No space left on device" in str(error) for error in got)
    assert all(isinstance(error, FeedbackNotStored) for error in got)
    await log.append(row(3))
    assert read_feedback(tmp_path) == [row(0), row(3)]


@pytest.mark.parametrize("name", ["parquet.tmp", "parquet.0123abcd.tmp"])
def test_stale_files_of_dead_writers_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stale = tmp_path / f"feedback-20200101-0.{name}"
    stale.write_bytes(b"half")
    log = FeedbackLog(tmp_path, LARGE)
    log.open()
    assert stale.exists()  # it is young: another process may be writing it
    monkeypatch.setattr(log_module, "STALE_S", -5.0)
    log.open()
    assert list(tmp_path.iterdir()) == []


def test_the_latest_word_about_an_answer_counts(tmp_path: Path) -> None:
    later = replace(row(1), request_id="id-0", label="blue")
    other = replace(later, answer=replace(ANSWER, answered_s=5.0))
    FeedbackLog(tmp_path, LARGE).write([later, row(0), other])
    assert read_feedback(tmp_path) == [later, other]  # the id was used for two answers


def test_the_latest_word_counts_also_after_the_server_forgot_the_answer(tmp_path: Path) -> None:
    """The client then sends the answer along, which has no time."""
    forgotten = replace(ANSWER, answered_s=None)
    first = replace(row(0), label="green")
    later = replace(row(1), request_id="id-0", source="client", answer=forgotten)
    other = replace(row(2), request_id="id-0", answer=replace(forgotten, label="green"))
    FeedbackLog(tmp_path, LARGE).write([first, later, other])
    assert read_feedback(tmp_path) == [later, other]  # another class: another answer


def test_what_is_no_feedback_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no Parquet files"):
        read_feedback(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        read_feedback(tmp_path)
    pq.write_table(pa.table({"time": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="request_id"):
        read_feedback(tmp_path / "a.parquet")
    table = table_of([row(0)])
    emptied = table.set_column(1, "request_id", pa.array([None], pa.string()))
    pq.write_table(emptied, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="row 0"):
        read_feedback(tmp_path)


async def test_an_unexpected_error_fails_all_rows_that_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row that was not stored is reported as stored."""

    def fail(_: object) -> None:
        raise MemoryError

    log = FeedbackLog(tmp_path, LARGE)
    log.open()
    monkeypatch.setattr(log_module, "table_of", fail)
    rows = (log.append(row(number)) for number in range(5))
    assert [type(one) for one in await asyncio.gather(*rows, return_exceptions=True)] == [
        MemoryError
    ] * 5
    monkeypatch.undo()
    await log.append(row(7))
    assert [one.request_id for one in read_feedback(tmp_path)] == ["id-7"]
