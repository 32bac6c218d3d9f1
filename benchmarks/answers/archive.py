"""Measurements of earlier runs: which of them a plan can use, and how the others differ.

A measurement is found by the values of its training, not by a stored key. So a recipe field that is
added later changes nothing, if old records have its old value. Where a value did change, the
training is another one: the plan says which values differ.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.answers.questions import Arm, Setting, measurement_key, questions
from service.errors import UsageError
from training.recipe import Recipe

SHOWN = 4
"""Values that a line of the plan names."""
Record = dict[str, Any]


def records(folder: Path) -> list[Record]:
    """All measurements under ``folder/<question>/``."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*/*-seed*.json"))]


def by_key(found: Iterable[Record]) -> dict[str, Record]:
    """The measurements by the key that `Arm.key` has now for the same values."""
    keyed = ((_key(record), record) for record in found)
    return {key: record for key, record in keyed if key}


def how_it_differs(arm: Arm, seed: int, setting: Setting, found: Iterable[Record]) -> str | None:
    """How an archived measurement of this arm differs; None where there is none.

    An arm of several questions is archived once, under the name that it has in one of them.
    """
    key = arm.key(seed, setting)
    arms = (one for question in questions(setting) for one in question.arms)
    names = {arm.name} | {one.name for one in arms if one.key(seed, setting) == key}
    for record in found:
        if record["seed"] == seed and record["arm"] in names:
            return _difference(record, arm, seed, setting)
    return None


def _key(record: Record) -> str | None:
    try:
        recipe = Recipe.from_json(record["recipe"])
    except UsageError:  # a value that recipes no longer have
        return None
    return measurement_key(recipe, record["wrong_labels"], record["method"], _asked(record))


def _asked(record: Record) -> int:
    """The number of validation images that was asked for; a data set may have fewer."""
    return record.get("asked_images", record["validation_images"])


def _difference(record: Record, arm: Arm, seed: int, setting: Setting) -> str:
    day = record["environment"]["taken_at"][:10]
    try:
        old = Recipe.from_json(record["recipe"]).to_json()
    except UsageError:
        return f"archived {day}, with a recipe that can no longer be read"
    old |= {"validation_images": _asked(record), "wrong_labels": record["wrong_labels"]}
    new = arm.recipe(seed).to_json() | {
        "validation_images": setting.validation_images,
        "wrong_labels": arm.wrong_labels,
    }
    lines = [
        _changed(name, old.get(name), value)
        for name, value in new.items()
        if old.get(name) != value and name != "summary"
    ]
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"archived {day}, with {', '.join(lines[:SHOWN])}{more}"


def _changed(name: str, old: object, new: object) -> str:
    if isinstance(new, (list, tuple, dict)):
        return f"other {name}"
    return f"{name} {json.dumps(old)} (now {json.dumps(new)})"
