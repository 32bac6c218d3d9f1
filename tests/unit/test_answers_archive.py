"""Archived measurements are found by the values of their training; others are told apart."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.answers.__main__ import plan, show
from benchmarks.answers.archive import Record, by_key, how_it_differs, records
from benchmarks.answers.questions import FULL, Setting, questions

SETTING = Setting()
QUESTION = questions(SETTING)[0]
ARM = QUESTION.arms[0]
SEED = 1


@pytest.fixture(name="record")
def _record() -> Record:
    return {
        "question": QUESTION.name,
        "arm": ARM.name,
        "seed": SEED,
        "method": ARM.method,
        "wrong_labels": ARM.wrong_labels,
        "asked_images": SETTING.validation_images,
        "validation_images": 300,
        "recipe": ARM.recipe(SEED).to_json(),
        "environment": {"taken_at": "2026-01-02T03:04:05"},
        "key": "of another time",
    }


def test_a_measurement_with_the_same_values_is_found_whatever_its_stored_key(
    record: Record,
) -> None:
    assert list(by_key([record])) == [ARM.key(SEED, SETTING)]
    record["recipe"]["summary"] = "other prose"
    assert list(by_key([record])) == [ARM.key(SEED, SETTING)]


def test_a_field_that_was_added_later_changes_nothing(record: Record) -> None:
    del record["recipe"]["ema"]
    assert ARM.key(SEED, SETTING) in by_key([record])


def test_other_values_are_another_measurement_and_are_named(record: Record) -> None:
    record["recipe"]["decode"] = "exact"
    record["recipe"]["stages"][0]["epochs"] = 77
    assert ARM.key(SEED, SETTING) not in by_key([record])
    said = how_it_differs(ARM, SEED, SETTING, [record])
    assert said is not None
    assert said.startswith("archived 2026-01-02, with ")
    assert 'decode "exact" (now "scaled")' in said
    assert "other stages" in said


def test_a_recipe_that_cannot_be_read_any_more_ends_nothing(record: Record) -> None:
    record["recipe"] = {"no_such_field": 1}
    assert by_key([record]) == {}
    assert "can no longer be read" in (how_it_differs(ARM, SEED, SETTING, [record]) or "")


def test_the_plan_says_which_is_which(
    record: Record, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / QUESTION.name
    folder.mkdir()
    (folder / f"same-seed{SEED}.json").write_text(json.dumps(record))
    other = QUESTION.arms[1]
    old = {**other.recipe(SEED).to_json(), "decode": "exact"}
    (folder / f"other-seed{SEED}.json").write_text(
        json.dumps({**record, "arm": other.name, "method": other.method, "recipe": old})
    )
    steps = plan([QUESTION], SETTING, 1, tmp_path, images=100)
    assert ARM.name not in [step.arm.name for step in steps]
    show(steps, SETTING, tmp_path)
    said = capsys.readouterr().err
    assert f"{other.name}, seed 1; archived 2026-01-02, with decode" in said
    assert "1 of them were measured with other values" in said
    assert how_it_differs(replace(ARM, name="new"), SEED, FULL, records(tmp_path)) is None


def test_every_archived_measurement_can_be_read_and_compared() -> None:
    archived = records(Path("docs/results/answers"))
    assert len(by_key(archived)) == len(archived) > 0
    for question in questions(SETTING):
        for arm in question.arms:
            assert how_it_differs(arm, SEED, SETTING, archived)
