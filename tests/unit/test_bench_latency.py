"""The latency bench on a machine whose clock the test holds: order, pairing, phases, noise."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from service.bench.image_size import ImageSize
from service.bench.latency.latency import LatencyPlan, Rounds, bench_latency, measure, summarize
from service.bench.latency.noise import notes
from service.bench.latency.phases import Timed, run_batch
from service.bench.photos import drawn, photos
from service.bench.report.results import PHASES, Case, LatencyReport, Phase
from service.commands.bench import app
from service.errors import UsageError
from service.inference.predictor import Predictor
from service.inference.tta.steps import Options
from service.package.manifest import Mode
from tests.support.images import coloured, encoded

COST_MS = {"none": 10.0, "five_crop": 40.0, "dense": 13.0}
PLAN = LatencyPlan(("none", "five_crop", "dense"), ("fp32",), (1, 4), seconds=1.0, min_rounds=40)


class Machine:
    """Runs cases in no time at all, on a clock of its own, as slow as `noise` makes it."""

    def __init__(self, noise_ms: float = 0.0) -> None:
        self.time = 0.0
        self.calls: list[tuple[Case, tuple[bytes, ...]]] = []
        self.noise_ms = noise_ms
        self.random = np.random.default_rng(0)

    def now(self) -> float:
        return self.time

    def run(self, case: Case, files: Sequence[bytes]) -> Timed:
        self.calls.append((case, tuple(files)))
        ms = COST_MS[case.mode] * case.batch_images + abs(self.random.normal(0, self.noise_ms))
        self.time += ms / 1e3
        phases: dict[Phase, float] = dict.fromkeys(PHASES, 0.0)
        return Timed({**phases, "decode": 2.0, "inference": ms - 2.0}, case.batch_images)


def run(
    machine: Machine, plan: LatencyPlan = PLAN, files: Sequence[bytes] = (b"a", b"b", b"c")
) -> Rounds:
    return measure(plan, files, machine.run, lambda _rounds, _seconds: None, machine.now)


def test_every_round_runs_every_case_once_in_an_order_of_its_own() -> None:
    rounds = run(Machine())
    assert len(PLAN.cases) == 8  # 3 modes and the control, at 2 batch sizes
    assert all(sorted(map(str, turn)) == sorted(map(str, PLAN.cases)) for turn in rounds.order)
    assert len(set(rounds.order)) > 0.9 * len(rounds.order)
    assert {len(samples) for samples in rounds.samples.values()} == {len(rounds.order)}


def test_the_cases_of_a_round_see_the_same_images() -> None:
    machine = Machine()
    run(machine)
    measured = machine.calls[PLAN.warm_up_rounds * 8 :]
    for start in range(0, len(measured), 8):
        ones = {files for case, files in measured[start : start + 8] if case.batch_images == 1}
        assert len(ones) == 1
    assert {files for case, files in measured if case.batch_images == 1} == {
        (b"a",),
        (b"b",),
        (b"c",),
    }


def test_it_stops_when_the_time_is_up_and_not_before_the_least_rounds() -> None:
    per_round = sum(COST_MS[c.mode] * c.batch_images for c in PLAN.cases) / 1e3
    assert len(run(Machine()).order) == max(40, -(-1.0 // per_round))
    long = LatencyPlan(("none",), ("fp32",), (1,), seconds=1.0, min_rounds=2, max_rounds=30)
    assert len(run(Machine(), long).order) == 30


def test_ratios_are_to_the_single_crop_of_the_same_batch_size() -> None:
    results = {str(r.case): r for r in summarize(PLAN, run(Machine()))}
    assert results["none fp32 batch 4"].ratio is None
    five = results["five_crop fp32 batch 4"]
    assert five.ratio is not None
    assert five.ratio.value == pytest.approx(4.0)
    assert five.ratio_without_decode is not None
    assert five.ratio_without_decode.value == pytest.approx(158 / 38)
    assert five.images_per_second == pytest.approx(25.0)
    assert five.total.p50_ms == pytest.approx(160.0)
    assert five.phases_ms["decode"] == 2.0


def test_a_quiet_machine_has_nothing_to_confess_but_the_few_samples() -> None:
    assert [note[:5] for note in notes(summarize(PLAN, run(Machine())))] == ["p99.9"]


def test_a_noisy_machine_says_which_modes_it_cannot_tell_apart() -> None:
    found = notes(summarize(PLAN, run(Machine(noise_ms=60))))
    assert any("too noisy" in note for note in found)
    assert any("none and dense cannot be told apart" in note for note in found)


@pytest.mark.parametrize("tta", ["none", "five_crop", "dense", "adaptive"])
def test_phases_add_up_and_none_is_negative(tta: Mode, predictor: Predictor) -> None:
    files = [encoded(coloured("red"), "JPEG"), encoded(coloured("blue", 200, 300), "JPEG")]
    timed = run_batch(files, Options(tta=tta), predictor)
    assert set(timed.phases_ms) == set(PHASES)
    assert all(ms > 0 for ms in timed.phases_ms.values())
    assert timed.passes == {"none": 2, "five_crop": 10, "dense": 2}.get(tta, timed.passes)


def test_the_real_thing_leaves_a_report_that_reads_back(package: Path) -> None:
    plan = LatencyPlan(("five_crop",), ("fp32", "int8"), (2,), seconds=0.01, min_rounds=3)
    report = bench_latency(
        package, plan, drawn(ImageSize(160, 120), seed=0, count=3), provider="cpu"
    )
    assert [str(r.case) for r in report.cases] == [
        "none fp32 batch 2",
        "five_crop fp32 batch 2",
        "none fp32 batch 2 (control)",
        "none int8 batch 2",
        "five_crop int8 batch 2",
        "none int8 batch 2 (control)",
    ]
    assert report.cases[1].passes_per_image == 5
    assert report.package.sha256.keys() == {"model.onnx", "model.int8.onnx", "manifest.json"}
    assert LatencyReport.model_validate_json(report.model_dump_json()) == report


def test_the_command_prints_json_that_a_machine_reads(package: Path) -> None:
    arguments = ["latency", str(package), "--seconds", "0.01", "--min-rounds", "2", "--batch", "1"]
    result = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert json.loads(result.stdout)["kind"] == "latency"
    table = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
    assert re.search(r"five_crop +fp32 +1 +\d+ ", table)
    assert "- images: 16 drawn JPEGs of 500×375 px" in table


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no images"):
        photos(tmp_path, None, seed=0)


def test_a_folder_of_photos_takes_images_by_content_and_counts_the_rest(tmp_path: Path) -> None:
    (tmp_path / "IMG_1").write_bytes(encoded(coloured("red", 40, 50), "JPEG"))
    (tmp_path / "IMG_2.jfif").write_bytes(encoded(coloured("red", 40, 50), "JPEG"))
    (tmp_path / "IMG_3.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (tmp_path / "@eaDir").mkdir()
    (tmp_path / "@eaDir" / "IMG_1.jpg").write_bytes(encoded(coloured("red", 40, 50), "JPEG"))
    images = photos(tmp_path, None, seed=0)
    assert len(images.files) == 2
    assert (images.skipped.files, images.skipped.hidden) == (1, 1)
    assert "skipped 1 file (.heic)" in images.description
    assert "of 50×40 px" in images.description
    assert "the first of 2" in photos(tmp_path, None, seed=0, most=1).description
    (tmp_path / "IMG_4.jpg").symlink_to("nothing")
    with pytest.raises(UsageError, match=r"IMG_4\.jpg cannot be read: No such file"):
        photos(tmp_path, None, seed=0)


def test_a_broken_photo_is_named(package: Path, tmp_path: Path) -> None:
    photo = encoded(coloured("red"), "JPEG")
    (tmp_path / "good.jpg").write_bytes(photo)
    (tmp_path / "half.jpg").write_bytes(photo[: len(photo) // 2])
    few = ["--tta", "none", "--batch", "2", "--seconds", "0.1", "--min-rounds", "2"]
    done = CliRunner().invoke(app, ["latency", str(package), "--images", str(tmp_path), *few])
    assert done.exit_code != 0
    assert isinstance(done.exception, UsageError)
    assert f"{tmp_path / 'half.jpg'}: the JPEG cannot be decoded" in str(done.exception)
