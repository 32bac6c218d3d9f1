"""The ring of recent answers, in one process and over the memory that workers share."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api.server.feedback_desk import opened_desk, room_bytes
from service.api.server.shared_memory import Shared
from service.feedback.given import GivenAnswer
from service.feedback.recent import RECORD_BYTES, RecentAnswers, ring_bytes
from service.settings import Settings

TEXT = st.text(max_size=60)
MAYBE = st.none() | st.floats(0, 1)
ANSWERS = st.builds(
    GivenAnswer, TEXT, TEXT, MAYBE, st.none() | TEXT, st.none() | TEXT, MAYBE,
    st.none() | st.booleans(), MAYBE, st.floats(0, 2e9),
)  # fmt: skip


def answer(label: str = "red", answered_s: float = 1.0) -> GivenAnswer:
    return GivenAnswer("tiny@1", label, 0.9, "int8", "dense", None, None, None, answered_s)


@given(ANSWERS)
def test_an_answer_is_found_as_it_was(one: GivenAnswer) -> None:
    recent = RecentAnswers(4)
    recent.remember("id-1", 2, one)
    if len(one.packed()) <= RECORD_BYTES - 8:
        assert recent.find("id-1", 2) == one
    assert recent.find("id-1", 1) is None
    assert recent.find("id-2", 2) is None


@settings(max_examples=50)
@given(st.integers(1, 9), st.integers(0, 40))
def test_the_last_answers_are_remembered_and_no_others(size: int, count: int) -> None:
    recent = RecentAnswers(size)
    for number in range(count):
        recent.remember(f"id-{number}", 0, answer(answered_s=number))
    known = [number for number in range(count) if recent.find(f"id-{number}", 0)]
    assert known == list(range(max(0, count - size), count))


def test_the_latest_of_two_answers_with_one_id_counts() -> None:
    recent = RecentAnswers(4)
    recent.remember("mine", 0, answer("red", 1))
    recent.remember("mine", 0, answer("blue", 2))
    found = recent.find("mine", 0)
    assert found is not None
    assert found.label == "blue"


def test_an_answer_that_does_not_fit_is_not_remembered_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    recent = RecentAnswers(4)
    for _ in range(2):
        recent.remember("mine", 0, answer("x" * RECORD_BYTES))
    assert recent.find("mine", 0) is None
    assert [r.getMessage()[:38] for r in caplog.records] == [
        "answers with very long labels are not "
    ]


def test_half_a_record_is_not_an_answer() -> None:
    memory = memoryview(bytearray(ring_bytes(2)))

    def rings():
        yield lambda start, length: bytes(memory[start : start + length])

    recent = RecentAnswers(2, memory, rings)
    recent.remember("mine", 0, answer())
    memory[ring_bytes(2) - 2 * RECORD_BYTES + 20] ^= 1
    assert recent.find("mine", 0) is None


def test_each_worker_finds_the_answers_of_all(tmp_path: Path) -> None:
    chosen = Settings(feedback_folder=tmp_path, feedback_answers=5)
    shared = Shared.create(2, room_bytes(chosen))
    slot = shared.claim()
    desk = opened_desk(chosen, shared, slot)
    assert desk is not None
    desk.remember("first", [{"error": {}}, CONTENT])
    assert desk.recent.find("first", 1) is not None
    assert desk.recent.find("first", 0) is None
    other = Shared(shared.fd)
    assert other.slots == shared.slots
    assert other.room_bytes == shared.room_bytes
    found = RecentAnswers(5, memoryview(bytearray(ring_bytes(5))), other.rooms).find("first", 1)
    assert found is not None
    assert found.label == "red"
    # A worker that takes the slot of a dead one goes on where that one ended.
    again = opened_desk(chosen, shared, slot)
    assert again is not None
    again.remember("second", [CONTENT])
    assert desk.recent.find("first", 1)
    assert desk.recent.find("second", 0)


CONTENT = {
    "model": "tiny@1", "label": "red", "probability": 0.9, "precision": "int8",
    "tta_applied": "none", "unknown": {"score": 1.5, "is_unknown": True, "known_rate": 0.95},
}  # fmt: skip


def test_without_feedback_no_memory_is_taken() -> None:
    assert room_bytes(Settings()) == 0
    shared = Shared.create(1, room_bytes(Settings()))
    assert len(shared.claim().room) == 0
