"""The whole pipeline against each of its stages alone, in turn, in the same run.

If inference runs on a CPU, two stages that both use all cores cannot overlap. Together they are at
best as fast as one after the other. So the pipeline is also measured with divided cores. Each stage
alone then runs on the half that it has in the pipeline, and the slower stage alone is the limit.

The measured part is the middle of a long job. One pipeline runs through all rounds and pauses while
a stage is measured alone. Rows that were ready before the pause are drawn before the clock starts.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.turns import in_turns
from service.bench.report.statistics import Interval, mean_interval, paired_ratio
from service.console.stdio import log
from service.inference.image.geometry import Size
from service.inference.predictor import Predictor
from service.inference.runtime.cores import usable_cores
from service.inference.tta.steps import Options
from service.listing.skipped import Skipped
from service.package.manifest import Mode
from service.scoring.item import Item, Position
from service.scoring.options import ScoreOptions, Speed
from service.scoring.pipeline import score_items
from service.scoring.run import Run
from service.scoring.scorer import Prepared
from service.scoring.sources.walk import walk

SQUARE = Size(1000, 1000)
MADE_READY = 3
"""Chunks that a paused pipeline may have ready, in addition to one for each inference thread."""
CHUNKS_OF_A_THREAD = 4
"""The least number of chunks for each thread. Rows come in chunks, so few chunks measure badly."""


def items_of(folder: Path) -> Iterator[tuple[Position, Item]]:
    """The files under `folder`, repeated without end."""
    skipped = Skipped()
    paths = list(walk(str(folder), skipped))
    for line in skipped.lines():
        log(line)
    if not paths:
        raise SystemExit(f"{folder} has no images")
    return ((Position(0, number), Item(paths[number % len(paths)])) for number in count())


def as_many(predictor: Predictor, mode: Mode, single_crops: int) -> int:
    """Images that take about as long in `mode` as `single_crops` do in `none`."""
    plan = predictor.model.planner.plan(mode, SQUARE)
    return max(1, round(single_crops / predictor.model.planner.cost(plan.first)))


def divisions() -> dict[str, Speed]:
    """How the cores are divided among the stages."""
    cores = usable_cores()
    half = max(1, cores // 2)
    divided = Speed(decode_threads=half, infer_threads=half)
    return {f"{half} each": divided, f"all {cores} for both": Speed()}


def rates(
    predictor: Predictor, mode: Mode, folder: Path, images: int, rounds: int, cores: str
) -> dict[str, Any]:
    """Seconds for each image of decoding alone, inference alone and the pipeline.

    At least `images`, in whole chunks, are timed in each round; `cores` is one of `divisions`.
    """
    run = Run([], predictor, ScoreOptions(Options(tta=mode), top_k=1), divisions()[cores])
    scorer, speed = run.scorer(), run.resolved_speed
    chunks = max(-(-images // speed.chunk_images), CHUNKS_OF_A_THREAD * speed.infer_threads)
    images = chunks * speed.chunk_images
    items = list(islice(items_of(folder), images))

    def decode() -> Sequence[Prepared]:
        with ThreadPoolExecutor(speed.decode_threads) as pool:
            return list(pool.map(lambda one: scorer.prepare(one[1], one[0]), items))

    ready: list[Prepared] = []

    def infer() -> None:
        starts = range(0, images, speed.chunk_images)
        with ThreadPoolExecutor(
            predictor.session.max_concurrent_batches(speed.infer_threads)
        ) as pool:
            list(pool.map(lambda n: scorer.finish(ready[n : n + speed.chunk_images]), starts))

    seconds: dict[str, list[float]] = {"decode": [], "infer": [], "whole": []}
    with closing(score_items(items_of(folder), scorer, speed)) as pipeline:

        def whole() -> None:
            for _ in range(chunks):
                next(pipeline)

        work: dict[str, Callable[[], object]] = {"decode": decode, "infer": infer, "whole": whole}
        for number, name in in_turns(work, range(rounds + 1)):  # the first round warms up
            ready[:] = decode() if name == "infer" else []
            for _ in range(speed.infer_threads + MADE_READY if name == "whole" else 0):
                next(pipeline)
            began = perf_counter()
            work[name]()
            if number:
                seconds[name].append((perf_counter() - began) / images)
    means = {name: mean_interval(own).value for name, own in seconds.items()}
    slower = max("decode", "infer", key=lambda name: means[name])
    both = [d + i for d, i in zip(seconds["decode"], seconds["infer"], strict=True)]
    against_slower = paired_ratio(seconds[slower], seconds["whole"])
    against_both = paired_ratio(both, seconds["whole"])
    return {
        "folder": folder.name,
        "mode": mode,
        "precision": predictor.precision,
        "provider": predictor.session.provider,
        "cores": cores,
        "images": images,
        "rounds": rounds,
        "images_per_s": {name: 1 / mean for name, mean in means.items()},
        "slower": slower,
        "share_of_slower": _interval(against_slower),
        "share_of_both_in_turn": _interval(against_both),
    }


def _interval(ratio: Any) -> list[float]:
    return [ratio.value, ratio.low, ratio.high]


def markdown(rows: list[dict[str, Any]]) -> list[str]:
    """A table; a share of 1 means as fast as the slower stage alone."""
    lines = [
        "| photos | images | mode | precision | cores | decode/s | inference/s | pipeline/s "
        "| × the slower alone (95%) | × one stage after the other (95%) |",
        "|---|--:|---|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        rate = row["images_per_s"]
        lines.append(
            f"| {row['folder']} | {row['images']} | {row['mode']} | {row['precision']} "
            f"| {row['cores']} "
            f"| {rate['decode']:.0f} | {rate['infer']:.0f} | {rate['whole']:.0f} "
            f"| {Interval(*row['share_of_slower'])} | {Interval(*row['share_of_both_in_turn'])} |"
        )
    return lines
