"""``python -m benchmarks.answers DATA``: answer the open questions with small trainings.

Every measurement is a separate JSON file. So the same command continues after a kill, and a
training that two questions share runs once. At the end the tables in docs/answers.md are written.
``--plan`` lists the missing trainings, and about how long they take on two CPU cores. Where a
measurement of the same name is archived, it says which values of the recipe were others then. A new
measurement replaces the archived one.

``--full`` is the plan for 9 minutes of an H100: all images at 128 and 192 px, 5 and 20 epochs.
Every question is answered with one seed first, then with more seeds, question by question, as far
as the time reaches. ``--minutes`` changes the time. The same command later continues with what is
missing.
"""

import argparse
import json
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

from benchmarks.answers import archive
from benchmarks.answers.questions import (
    FULL,
    FULL_MINUTES,
    Arm,
    Question,
    Setting,
    epoch_cost,
    questions,
)
from benchmarks.arguments import amount, count, count_or_zero, parser_of, run_benchmark
from service.bench.environment import environment

DOCUMENT = Path("docs/answers.md")
SEEDS = 3
PASS_MS = 0.5e-3
"""Milliseconds of a forward pass for each pixel of a crop: a third of a training step."""


@dataclass(frozen=True)
class Step:
    """One measurement that is still to be made."""

    question: str
    arm: Arm
    seed: int
    estimate_s: float


def main() -> None:
    given = _arguments()
    began = time.monotonic()
    setting = _setting(given)
    every = questions(setting)
    asked = [q for q in every if not given.question or q.name in given.question]
    images = given.images or _count(given.data)
    steps = plan(asked, setting, given.seeds, given.out, images)
    total_s = sum(step.estimate_s for step in steps)
    log(f"{len(steps)} measurements to make, about {total_s / 60:.0f} min on two CPU cores")
    if given.plan:
        show(steps, setting, given.out)
        return
    failed = measure(steps, setting, given, total_s, began) if steps else []
    report(asked, setting, given.seeds, given.out, given.document)
    if failed:
        raise SystemExit("these measurements failed:\n" + "\n".join(failed))


def plan(
    asked: Sequence[Question], setting: Setting, seeds: int, out: Path, images: int
) -> list[Step]:
    """The missing measurements: every question with the first seed, then question by question with
    the others. A shared training counts at its first use."""
    steps: list[Step] = []
    made = set(archive.by_key(archive.records(out)))
    trained: set[str] = set()
    turns = [(question, 1) for question in asked]
    turns += [(question, seed) for question in asked for seed in range(2, seeds + 1)]
    for question, seed in turns:
        for arm in question.arms:
            key = arm.key(seed, setting)
            if key in made:
                continue
            made.add(key)
            new = arm.training_key(seed) not in trained
            trained.add(arm.training_key(seed))
            seconds = _estimate(arm, seed, setting, images, new)
            steps.append(Step(question.name, arm, seed, seconds))
    return steps


def show(steps: Sequence[Step], setting: Setting, out: Path) -> None:
    """List the steps, and which of them were measured with other values."""
    found = archive.records(out)
    before = 0
    for step in steps:
        differs = archive.how_it_differs(step.arm, step.seed, setting, found)
        before += differs is not None
        what = f"{step.question}: {step.arm.name}, seed {step.seed}"
        log(f"  {step.estimate_s:5.0f} s  {what}{f'; {differs}' if differs else ''}")
    if before:
        log(
            f"{before} of them were measured with other values, and {DOCUMENT} shows these; "
            f"{len(steps) - before} were never measured"
        )


def _estimate(arm: Arm, seed: int, setting: Setting, images: int, new: bool) -> float:
    recipe = arm.recipe(seed)
    (stage,) = recipe.stages
    passes = 1 if arm.method == "none" else 5
    milliseconds = min(setting.validation_images, images) * passes * PASS_MS * recipe.crop_px**2
    if new:
        count = images * recipe.subset_share
        sides = [stage.size_at(epoch) for epoch in range(stage.epochs)]
        milliseconds += 1000 + count * sum(epoch_cost(side_px) for side_px in sides)
    return milliseconds / 1000


def measure(
    steps: Sequence[Step],
    setting: Setting,
    given: argparse.Namespace,
    total_s: float,
    began: float,
) -> list[str]:
    """Make the measurements that fit into `--minutes`, which count from `began`.

    Returns those that failed. The same command tries them again. Trained networks stay under
    `--work` until all are made.
    """
    from benchmarks.answers.images import shrunk
    from benchmarks.answers.trainings import ask, train
    from training.fit.cached.keeping import CacheOptions

    data = given.data
    if not given.full:  # the cache decodes once, so --full takes the photos as they are
        log(f"shrinking the images once, into {given.work / 'images-160'}")
        data = shrunk(data, given.work / "images-160")
    stored_px = setting.large_px + 32 if given.full else 0
    kept = CacheOptions(given.cache, given.work / "cache", px=stored_px)
    first, done_s = time.monotonic(), 0.0
    failed: list[str] = []

    def fits(step: Step) -> bool:
        speed = (time.monotonic() - first) / done_s if done_s else 0.0
        end_s = time.monotonic() - began + speed * step.estimate_s
        return not given.minutes or end_s <= 60 * given.minutes

    waiting = list(steps)
    # The first training decodes the images, so at first the others seem to take longer than they
    # do. Therefore a step that did not fit is looked at again.
    while step := next(filter(fits, waiting), None):
        waiting.remove(step)
        arm, seed = step.arm, step.seed
        folder = given.work / arm.training_key(seed)
        try:
            trained = train(arm, seed, data, folder, given.workers, kept)
            answer = ask(trained, arm, data, folder, setting)
        except Exception as error:  # such as a GPU without memory left; the others may succeed
            traceback.print_exc()
            failed.append(f"{step.question}: {arm.name}, seed {seed}: {type(error).__name__}")
            continue
        record = {
            "key": arm.key(seed, setting),
            "question": step.question,
            "arm": arm.name,
            "seed": seed,
            **asdict(answer),
            "wrong_labels": arm.wrong_labels,
            "method": arm.method,
            "asked_images": setting.validation_images,
            "validation_images": min(setting.validation_images, _count(given.data, "val")),
            "device": _device(),
            "recipe": arm.recipe(seed).to_json(),
            "environment": environment().model_dump(mode="json"),
        }
        path = given.out / step.question / f"{_slug(arm.name)}-seed{seed}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(record, indent=1) + "\n")
        partial.replace(path)
        done_s += step.estimate_s
        left_s = (time.monotonic() - first) / done_s * (total_s - done_s)
        log(
            f"[{len(steps) - len(waiting)}/{len(steps)}] {step.question}: {arm.name}, seed {seed}: "
            f"top-1 {100 * answer.top1:.1f}%, trained {answer.train_seconds:.0f} s; "
            f"about {left_s / 60:.0f} min left"
        )
        later = {s.arm.training_key(s.seed) for s in waiting}
        if arm.training_key(seed) not in later:
            shutil.rmtree(folder, ignore_errors=True)
    if waiting:
        log(
            f"{len(waiting)} measurements are left: they did not fit into {given.minutes:g} minutes"
        )
    return failed


def report(
    asked: Sequence[Question],
    setting: Setting,
    seeds: int,
    out: Path,
    document: Path,
) -> None:
    """Print every table and put it into the document, under the command that made it."""
    from benchmarks.answers.tables import rewrite, table
    from benchmarks.answers.trainings import Answer

    by_key = archive.by_key(archive.records(out))
    names = [field.name for field in fields(Answer)]
    for question in asked:
        measured = [
            seed
            for seed in range(1, seeds + 1)
            if all(arm.key(seed, setting) in by_key for arm in question.arms)
        ]
        if not measured:
            log(f"\n{question.title}\n\nnot measured yet with these values (--plan compares)")
            continue
        found = {
            arm.name: {seed: by_key[arm.key(seed, setting)] for seed in measured}
            for arm in question.arms
        }
        answers = {
            name: {s: Answer(*(record[n] for n in names)) for s, record in own.items()}
            for name, own in found.items()
        }
        some = next(iter(next(iter(found.values())).values()))
        machine = some["environment"]
        about = (
            f"`{_command(question, setting, seeds)}`, {machine['taken_at'][:10]}, "
            f"{machine['cores']} cores, {machine['cpu']}{_on(some)}: n = {len(measured)} "
            f"seed{'s'[: len(measured) != 1]}, {some['validation_images']} validation images."
        )
        content = f"{about}\n\n{table(question, answers)}"
        log(f"\n{question.title}\n\n{content}")
        rewrite(document, question.name, content)


@cache
def _count(data: Path, part: str = "train") -> int:
    from training.data.dataset import scan

    return len(scan(data / part))


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _on(record: dict) -> str:
    """The GPU of a measurement, for the line above its table."""
    return "" if record.get("device", "cpu") == "cpu" else f", {record['device']}"


def _setting(given: argparse.Namespace) -> Setting:
    """The setting that was given; --full changes what was not."""
    values = {f.name: getattr(given, f.name) for f in fields(Setting)}
    if given.full:
        known = asdict(Setting())
        values = {k: getattr(FULL, k) if v == known[k] else v for k, v in values.items()}
        given.minutes = given.minutes or FULL_MINUTES
        given.cache = given.cache or "auto"
    given.cache = given.cache or "off"
    return Setting(**values)


def _slug(name: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def _command(question: Question, setting: Setting, seeds: int) -> str:
    """The command that makes the table of one question."""
    full = setting.subset_share == 1 and setting.optimizer == FULL.optimizer
    known = FULL if full else Setting()
    changed = {k: v for k, v in asdict(setting).items() if v != getattr(known, k)}
    options = ["--full"] if full else []
    options += [f"--{name.replace('_', '-')} {value}" for name, value in changed.items()]
    if seeds != SEEDS:
        options.append(f"--seeds {seeds}")
    return " ".join(["python -m benchmarks.answers DATA", f"--question {question.name}", *options])


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = parser_of("answers", __doc__)
    known = [question.name for question in questions(Setting())]
    parser.add_argument("data", type=Path, help="a folder of train/<class>/* and val/<class>/*")
    parser.add_argument(
        "--question", action="append", choices=known, help="answer only this one; repeatable"
    )
    parser.add_argument("--seeds", type=count, default=SEEDS, help="trainings of each arm")
    default = Setting()
    for name, what in (
        ("subset-share", "share of the training images, stratified"),
        ("few", "epochs of the short trainings"),
        ("many", "epochs of the long trainings"),
        ("side-px", "side of a crop"),
        ("large-px", "side of the large crops of the question progressive"),
        ("batch-images", "images of a training step"),
        ("validation-images", "images that each network is tested on"),
        ("optimizer", "ranger, or adamw as in recipe gpu"),
    ):
        value = getattr(default, name.replace("-", "_"))
        parser.add_argument(
            f"--{name}", type=type(value), default=value, help=f"{what} (default {value})"
        )
    parser.add_argument(
        "--full", action="store_true", help="large trainings, planned for 9 minutes of an H100"
    )
    parser.add_argument("--minutes", type=amount, help="start no training that would end later")
    parser.add_argument(
        "--cache", choices=("auto", "device", "memory", "off"), help="as for quincunx train"
    )
    parser.add_argument(
        "--workers", type=count_or_zero, default=0, help="processes that load images"
    )
    parser.add_argument(
        "--plan", action="store_true", help="list the missing trainings and their time, and end"
    )
    parser.add_argument("--images", type=count, help="with --plan: the number of training images")
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results/answers"), help="folder of the results"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("runs/answers"), help="folder of the trainings"
    )
    parser.add_argument(
        "--document", type=Path, default=DOCUMENT, help="page whose tables are written"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run_benchmark(main)
