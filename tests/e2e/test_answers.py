"""The answers: shared trainings, a run that resumes, and tables that say what was measured."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.answers import __main__ as script
from benchmarks.answers import trainings
from benchmarks.answers.images import with_wrong_labels
from benchmarks.answers.questions import FULL, Setting, equal_time, questions
from benchmarks.answers.tables import paired_difference, rewrite
from tests.support.dataset import drawn_dataset
from training.data.dataset import Item, Split

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = [
    "--subset-share=0.2", "--few=1", "--many=2", "--side-px=32", "--large-px=64",
    "--batch-images=8", "--validation-images=15", "--seeds=1",
    "--question=normalization", "--question=tta",
]  # fmt: skip
COMMON = Setting.common
DOCUMENT = "\n".join(
    f"<!-- answers: {name} -->\nnot run\n<!-- end: {name} -->" for name in ("normalization", "tta")
)


def narrow(setting: Setting, side_px: int) -> tuple[str, ...]:
    """The settings of every training, of a network that is quickly trained and exported."""
    return (*COMMON(setting, side_px), "architecture.widen=0.25")


def run(monkeypatch: pytest.MonkeyPatch, data: Path, folder: Path, *more: str) -> str:
    where = ["--out", folder / "out", "--work", folder / "work", "--document", folder / "doc.md"]
    monkeypatch.setattr(sys, "argv", ["answers", str(data), *OPTIONS, *map(str, where), *more])
    monkeypatch.setattr(Setting, "common", narrow)
    script.main()
    return (folder / "doc.md").read_text()


def test_a_run_resumes_and_writes_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = drawn_dataset(tmp_path / "data", train=60)
    (tmp_path / "doc.md").write_text(DOCUMENT)
    assert run(monkeypatch, data, tmp_path, "--plan") == DOCUMENT
    assert "5 measurements to make" in capsys.readouterr().err

    train, ask = trainings.train, trainings.ask
    monkeypatch.setattr(trainings, "ask", lambda *a: ask(*a) if a[1].method == "none" else 1 / 0)
    # One question fails. The others are answered all the same.
    with pytest.raises(SystemExit, match="tta: five_crop, 5 passes, seed 1: ZeroDivisionError"):
        run(monkeypatch, data, tmp_path)
    monkeypatch.setattr(trainings, "ask", ask)
    trained: list[str] = []

    def counted(arm: Any, seed: int, data: Path, folder: Path, *more: Any) -> object:
        if not (folder / "checkpoint.json").exists():
            trained.append(folder.name)
        return train(arm, seed, data, folder, *more)

    monkeypatch.setattr(trainings, "train", counted)
    text = run(monkeypatch, data, tmp_path)
    assert not trained  # two had their answers, and the third its network
    assert "not run" not in text
    assert "`python -m benchmarks.answers DATA --question tta --subset-share 0.2 --few 1" in text
    assert "| five_crop, 5 passes |" in text
    assert "(one seed)" in text
    record = json.loads((tmp_path / "out/tta/five-crop-5-passes-seed1.json").read_text())
    assert 0 <= record["top1"] <= 1
    assert record["train_seconds"] > 0
    assert record["recipe"]["seed"] == 1
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"images-160"}

    # What is answered is not asked again; another setting is another measurement.
    assert run(monkeypatch, data, tmp_path) == text
    run(monkeypatch, data, tmp_path, "--few=2", "--plan")
    assert "2 measurements to make" in capsys.readouterr().err


def test_the_full_plan_ends_in_its_time_and_a_later_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a CPU with little data and little time; a clock that only trainings turn."""
    data = drawn_dataset(tmp_path / "data", train=20)
    (tmp_path / "doc.md").write_text(DOCUMENT)
    clock = [0.0]
    train = trainings.train

    def timed(*given: Any) -> object:
        clock[0] += 25
        return train(*given)

    monkeypatch.setattr(trainings, "train", timed)
    monkeypatch.setattr(script, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    full = ["--full", "--minutes=1", "--cache=memory", "--subset-share=1", "--seeds=2"]
    text = run(monkeypatch, data, tmp_path, *full)
    # The first training has no estimate, the second fits, a third would end too late.
    assert "measurements are left: they did not fit into 1 minutes" in capsys.readouterr().err
    records = sorted(path.name for path in (tmp_path / "out/normalization").iterdir())
    assert records == [
        "normalized-with-the-data-set-s-statistics-seed1.json",
        "not-normalized-seed1.json",
    ]
    assert "--full" in text
    assert "n = 1 seed, 15 validation images" in text
    assert text.count("not run") == 1  # no seed of the other question is complete
    assert (tmp_path / "work/cache").exists()
    clock[0] = 0.0
    text = run(monkeypatch, data, tmp_path, *full[:1], "--minutes=100", *full[2:])
    assert "not run" not in text
    assert text.count("n = 2 seeds, 15 validation images") == 2


def test_the_full_plan_is_of_full_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(
        sys, "argv",
        ["answers", "none", "--full", "--plan", "--images=9469", "--out", str(tmp_path)],
    )  # fmt: skip
    script.main()
    planned = capsys.readouterr().err
    assert planned.count("mixers: cutmix, seed") == 3
    first = planned.index("seed 2")
    assert all(f"{q.name}: " in planned[:first] for q in questions(FULL) if q.name != "tta")
    for question in questions(FULL):
        for arm in question.arms:
            made = arm.recipe(1)
            assert (made.subset_share, made.batch_images, made.optimizer) == (1, 128, "adamw")
            assert {made.stages[0].size_at(0), made.crop_px} <= {128, 192}


def test_questions_share_trainings() -> None:
    setting = Setting()
    arms = [arm for question in questions(setting) for arm in question.arms]
    keys = {arm.training_key(1) for arm in arms}
    assert (len(arms), len(keys)) == (20, 12)
    assert keys.isdisjoint({arm.training_key(2) for arm in arms})
    for question in questions(setting):
        assert {a.against for a in question.arms} - {None} <= {a.name for a in question.arms}


def test_equal_time_is_near_equal_by_its_own_estimate() -> None:
    for setting in (Setting(), Setting(many=20), Setting(side_px=96, large_px=160, many=12)):
        full, at_small, at_large = equal_time(setting)
        cost = {px: script.epoch_cost(px) for px in (setting.side_px, setting.large_px)}
        grown = at_small * cost[setting.side_px] + at_large * cost[setting.large_px]
        assert grown == pytest.approx(full * cost[setting.large_px], rel=0.1)


def test_wrong_labels_are_so_many_seeded_and_of_training_alone() -> None:
    items = tuple(Item(Path(f"{i}.png"), "abc"[i % 3]) for i in range(200))
    images = Split(("a", "b", "c"), items, items[:10])
    noisy = with_wrong_labels(images, 0.1, seed=1)
    changed = [a != b for a, b in zip(images.train, noisy.train, strict=True)]
    assert sum(changed) == 20
    assert noisy.calibration == images.calibration
    assert {item.label for item in noisy.train} == {"a", "b", "c"}
    assert with_wrong_labels(images, 0.1, seed=1) == noisy
    assert with_wrong_labels(images, 0.1, seed=2) != noisy


def test_the_interval_of_a_paired_difference_is_students() -> None:
    difference = paired_difference([3.0, 5.0, 7.0], [2.0, 3.0, 4.0])  # 1, 2, 3
    assert difference.mean == pytest.approx(2)
    assert difference.low == pytest.approx(2 - 4.302653 / 3**0.5, abs=1e-5)
    assert not difference.excludes_zero
    assert paired_difference([3.0, 4.0, 5.1], [2.0, 3.0, 4.0]).excludes_zero
    assert paired_difference([3.0], [2.0]).low is None


def test_only_the_marked_part_of_the_document_changes(tmp_path: Path) -> None:
    document = tmp_path / "doc.md"
    document.write_text(f"before\n{DOCUMENT}\nafter")
    rewrite(document, "tta", "| new |")
    assert document.read_text() == f"before\n{DOCUMENT}\nafter".replace(
        "<!-- answers: tta -->\nnot run", "<!-- answers: tta -->\n| new |"
    )
    with pytest.raises(SystemExit, match="has no markers"):
        rewrite(document, "mixup", "")


def test_the_document_has_a_place_for_every_question() -> None:
    text = (Path(__file__).parents[2] / script.DOCUMENT).read_text()
    for question in questions(Setting()):
        assert f"<!-- answers: {question.name} -->" in text
        assert f"<!-- end: {question.name} -->" in text
