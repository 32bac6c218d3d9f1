"""`quincunx train --cache`: runs on decoded images, from the command to the package."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from service import cli
from service.errors import DataError, UsageError
from service.package.package import ModelPackage
from tests.e2e.test_training_resume import PATIENCE_S, epochs_done
from tests.support.shapes import shapes
from training import recipe
from training.data.cache.build import Cache
from training.data.cache.cache_folder import listed
from training.data.dataset import Split, split
from training.data.stats import IMAGENET, from_files
from training.fit.cached import keeping
from training.fit.cached.keeping import CacheOptions, storing
from training.fit.cached.loaders import ahead, cached_loaders
from training.fit.cached.sources import DevicePixels, FilePixels, PixelSource
from training.fit.loaders import dataloaders
from training.fit.seeding import seed_all, seed_loaders
from training.fit.train import train
from training.run import checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = [
    "architecture.widen=0.25", "batch_images=16", "stage.1.epochs=3", "stage.1.size_px=32",
    "stage.1.grow_at=[[2, 64]]", "crop_px=32", "resize_px=64", "calibration_share=0.2",
    "mixer=mixup", "batch_sizes_px=[32, 64]", "calibration_folds=0",
]  # fmt: skip
SET = [part for value in TINY for part in ("--set", value)]
CPU = torch.device("cpu")
RUN = """
import sys
from pathlib import Path
import torch

from training import recipe
from training.fit.cached.keeping import CacheOptions
from training.fit.train import train

data, folder, cache, *overrides = sys.argv[1:]
torch.set_num_threads(1)
options = CacheOptions("memory", Path(cache))
train(Path(data), recipe.load("small-cpu", overrides), Path(folder), resume=True, cache=options)
"""


TWO = """
import json, sys
from pathlib import Path

from training import recipe
from training.fit import distributed
from training.fit.cached.keeping import CacheOptions
from training.fit.cached.loaders import Batches
from training.fit.train import train

data, out, *overrides = sys.argv[1:]
prepare, seen = Batches.prepare, []

def noted(batches, chosen, rng):
    if batches.split_idx == 0:
        seen.extend(batches.rows[chosen].tolist())
    return prepare(batches, chosen, rng)

Batches.prepare = noted
process = distributed.process()
options = CacheOptions("memory", Path(out) / "cache")
train(Path(data), recipe.load("small-cpu", overrides), Path(out) / "run", cache=options)
(Path(out) / f"{process}.json").write_text(json.dumps(seen))
"""


def memory(folder: Path) -> CacheOptions:
    return CacheOptions("memory", folder / "cache")


def trained(data: Path, folder: Path, options: CacheOptions, **more: Any) -> list[str]:
    """Train, and what was said."""
    lines: list[str] = []
    made = recipe.load("small-cpu", TINY)
    train(data, made, folder, cache=options, log=lines.append, **more)
    return lines


def source(images: Split, made: recipe.Recipe, folder: Path, kind: Any) -> PixelSource:
    cache = Cache(storing(made), folder)
    return kind(cache.existing(images.paths()) or cache.build(images.paths(), "drawn"), CPU)


def batches(loaders: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Every batch of an epoch, and of the calibration split."""
    seed_all(1, 1)
    seed_loaders(loaders, 1, 0)
    return [*loaders.train, *loaders.valid]


def test_the_command_trains_and_exports_and_decodes_once(data: Path, tmp_path: Path) -> None:
    command = ["train", str(data), "--recipe", "small-cpu", *SET, "--cache", "memory"]
    command += ["--cache-folder", str(tmp_path / "cache")]
    for name, said in (("first", "decoded 60 images once"), ("second", "by an earlier run")):
        out = ["--out", str(tmp_path / name), "--run", str(tmp_path / "runs" / name)]
        done = CliRunner().invoke(cli.app, [*command, *out])
        assert done.exit_code == 0, done.output
        assert said in done.stderr
        assert "images are kept in a memory-mapped file" in done.stderr
    assert len(listed(tmp_path / "cache")) == 1
    one, other = (checkpoint.load(tmp_path / "runs" / name) for name in ("first", "second"))
    assert all(torch.equal(one.weights[key], other.weights[key]) for key in one.weights)
    assert one.facts["cache"] == {"shorter_px": 109}  # 64 px and a crop of 35% of the area
    assert len(ModelPackage.load(tmp_path / "first").manifest.labels) == 3


def test_killed_and_resumed_is_as_good_as_never_stopped(data: Path, tmp_path: Path) -> None:
    straight, folder, options = tmp_path / "straight", tmp_path / "killed", memory(tmp_path)
    trained(data, straight, options)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(data), str(folder), str(options.folder), *TINY],
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    deadline = time.monotonic() + PATIENCE_S
    while epochs_done(folder) < 1:
        assert process.poll() is None, "the run ended before its first checkpoint"
        assert time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(PATIENCE_S)
    assert 1 <= epochs_done(folder) < 3
    # `auto` keeps images as the run did, without a GPU too.
    lines = trained(data, folder, CacheOptions("auto", options.folder), resume=True)
    assert any("images are kept in a memory-mapped file" in line for line in lines)
    one, other = checkpoint.load(straight), checkpoint.load(folder)
    assert all(torch.equal(one.weights[key], other.weights[key]) for key in one.weights)
    assert [row["train_loss"] for row in one.facts["history"]] == [
        row["train_loss"] for row in other.facts["history"]
    ]


def test_a_run_resumed_in_another_way_is_told(data: Path, tmp_path: Path) -> None:
    trained(data, tmp_path / "off", CacheOptions("auto"))  # no GPU: off
    assert checkpoint.load(tmp_path / "off").facts["cache"] is None
    lines = trained(data, tmp_path / "off", memory(tmp_path), resume=True, workers=1)
    assert "--workers is not used: the images have been decoded" in lines
    assert any("begun with --cache off" in line for line in lines)


def test_unreadable_images_are_named_and_left_out(tmp_path: Path) -> None:
    from tests.support.dataset import drawn_dataset

    data = drawn_dataset(tmp_path / "data")
    broken = data / "train" / "red" / "000.png"
    broken.write_bytes(broken.read_bytes()[:200])
    for run in ("decoding", "again"):
        lines = trained(data, tmp_path / run, memory(tmp_path))
        assert any(line.startswith(f"left out {broken}: ") for line in lines)
        assert "trained without 1 unreadable images, named above" in lines
        state = checkpoint.load(tmp_path / run)
        images = split(data, recipe.load("small-cpu", TINY))
        readable = [item.path for item in images.train if item.path != broken]
        assert tuple(state.facts["normalization"]["mean"]) == from_files(readable).mean


@pytest.mark.parametrize("kind", [DevicePixels, FilePixels])
@pytest.mark.parametrize("name", ["small-cpu", "baseline"])
def test_an_epoch_has_the_images_in_the_order_of_loaders_that_decode(
    data: Path, tmp_path: Path, name: str, kind: Any
) -> None:
    sizes = ["batch_images=16", "crop_px=32", "resize_px=64", "stage.1.size_px=32"]
    made = recipe.load(name, [*sizes, "calibration_share=0.2"])
    images = split(data, made)
    cached = cached_loaders(source(images, made, tmp_path, kind), images, made, 32, IMAGENET)
    ours = batches(cached)
    theirs = batches(dataloaders(images, made, 32, IMAGENET))
    assert len(ours) == len(theirs)
    for (x, y), (inputs, targets) in zip(ours, theirs, strict=True):
        assert x.shape == inputs.shape
        assert x.dtype == inputs.dtype
        assert torch.equal(torch.as_tensor(y), torch.as_tensor(targets))
        # The same images, of one colour each, in other crops.
        means = torch.as_tensor(x).mean((2, 3)), torch.as_tensor(inputs).mean((2, 3))
        torch.testing.assert_close(*means, atol=0.35, rtol=0)


def test_the_device_and_the_file_give_the_same_batches(data: Path, tmp_path: Path) -> None:
    made = recipe.load("small-cpu", TINY)
    images = split(data, made)
    both = [
        batches(cached_loaders(source(images, made, tmp_path, kind), images, made, 32, IMAGENET))
        for kind in (DevicePixels, FilePixels)
    ]
    for (one, _), (other, _) in zip(*both, strict=True):
        torch.testing.assert_close(one, other, atol=1.01 / 255 / 0.224, rtol=0)
    again = source(images, made, tmp_path, DevicePixels)
    same = batches(cached_loaders(again, images, made, 32, IMAGENET))
    assert all(torch.equal(one[0], other[0]) for one, other in zip(same, both[0], strict=True))


def test_multi_label_data_of_rectangles(tmp_path: Path) -> None:
    table = shapes(tmp_path / "shapes", train=60, val=6)
    tiny = [*TINY[:-2], "batch_images=12", "calibration_share=0.3", "stage.1.epochs=2"]
    made = recipe.load("small-cpu", tiny)
    images = split(table, made)
    for kind in (DevicePixels, FilePixels):
        loaders = cached_loaders(source(images, made, tmp_path / "c", kind), images, made, 32, None)
        for x, y in batches(loaders):
            assert (x.shape[1:], y.shape[1:], y.dtype) == ((3, 32, 32), (3,), torch.float32)
            assert 0 <= float(x.min()) <= float(x.max()) <= 1
        held = torch.cat([y for _, y in loaders.valid])
        wanted = [[name in item.labels for name in images.classes] for item in images.calibration]
        assert held.tolist() == wanted
    train(table, made, tmp_path / "run", cache=memory(tmp_path), log=lambda _: None)
    assert checkpoint.load(tmp_path / "run").facts["finished"]


def test_a_gpu_that_is_not_there_is_said(data: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UsageError, match="no CUDA device here: use --cache memory"):
        trained(data, tmp_path / "run", CacheOptions("device", tmp_path / "cache"))
    with pytest.raises(UsageError, match="--cache-px must be 0 or at least 32, but got 8"):
        CacheOptions("memory", px=8)
    with pytest.raises(DataError, match=r"the limit is 0\.1 MiB \(--cache-limit\)"):
        trained(data, tmp_path / "run", CacheOptions("memory", tmp_path / "cache", 0.0001))


@pytest.mark.skipif(find_spec("accelerate") is None, reason="the extra [distributed] is missing")
def test_two_processes_take_two_shares_of_one_cache(data: Path, tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [*command, script, data, tmp_path, *TINY, "stage.1.epochs=1", "stage.1.grow_at=[]"],
        env=os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("decoded 60 images once") == 1
    one, other = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (0, 1))
    assert len(one) == len(other) == 24  # 48 training images
    assert not set(one) & set(other)
    assert checkpoint.load(tmp_path / "run").facts["finished"]


def test_a_gpu_gets_what_fits(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The choice of `auto` with a GPU, whose memory is made up."""
    monkeypatch.setattr(keeping, "_device", lambda: torch.device("cuda"))
    made = recipe.load("small-cpu", TINY)
    images = split(data, made)
    lines: list[str] = []

    def chosen(mode: Any, free: int, limit_gib: float = 1) -> str | None:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free, 2 * free))
        options = CacheOptions(mode, tmp_path / "cache", limit_gib)
        kept, _ = keeping.keep(options, made, images, data, None, lines.append)
        return kept.where if kept else None

    assert chosen("auto", 10, 1e-6) is None
    assert "every epoch decodes the files: the decoded images take" in lines[-1]
    assert chosen("auto", 2**30) == "device"
    assert "kept in GPU memory, 0.3 MiB of 1.00 GiB that are free" in lines[-1]
    assert chosen("auto", 2**18) == "memory"
    assert "memory-mapped file, 0.3 MiB: more than 60% of 0.2 MiB that are free" in lines[-1]
    assert chosen("memory", 2**30) == "memory"
    assert chosen("device", 2**30) == "device"
    with pytest.raises(DataError, match=r"0\.3 MiB, but only 0\.1 MiB of GPU memory may"):
        chosen("device", 2**18)


def test_without_a_gpu_large_images_are_kept(data: Path, tmp_path: Path) -> None:
    large = tmp_path / "large"
    for name in ("a", "b"):
        (large / "train" / name).mkdir(parents=True)
        for number in range(4):
            image = Image.new("RGB", (1250, 800), (number, 0, 0))
            image.save(large / "train" / name / f"{number}.png")
    made = recipe.load("small-cpu", [*TINY, "calibration_share=0.5"])
    options = CacheOptions("auto", tmp_path / "cache")
    for folder, wanted in ((data, None), (large, "memory"), (large, "memory")):
        images = split(folder, made)
        kept, _ = keeping.keep(options, made, images, folder, None, lambda _: None)
        assert (kept.where if kept else None) == wanted
    assert len(listed(options.folder)) == 1


def test_a_thread_works_ahead_in_order() -> None:
    assert list(ahead(lambda x: 2 * x, range(20), 3)) == [2 * x for x in range(20)]
    begun: list[int] = []
    some = ahead(begun.append, range(100), 2)
    next(some)
    some.close()  # type: ignore[attr-defined]  # a fit that stops in an epoch
    assert len(begun) < 10


def test_rectangles_fill_the_batches_of_both_sources(tmp_path: Path) -> None:
    """Every image has a colour of its own: nothing of a neighbour in memory is seen."""
    for part, sizes in (("train", [(40, 90), (90, 40), (64, 64), (33, 120)]), ("val", [(40, 40)])):
        for name, colour in (("a", 60), ("b", 200)):
            folder = tmp_path / "data" / part / name
            folder.mkdir(parents=True)
            for number in range(16):
                height, width = sizes[number % len(sizes)]
                value = colour + number
                Image.new("RGB", (width, height), (value,) * 3).save(folder / f"{number:02}.png")
    made = recipe.load("small-cpu", [*TINY, "mixer=none", "normalization=none"])
    images = split(tmp_path / "data", made)
    for kind in (DevicePixels, FilePixels):
        loaders = cached_loaders(source(images, made, tmp_path / "c", kind), images, made, 32, None)
        for x, y in batches(loaders):
            assert float(x.flatten(1).std(1).max()) < 1e-4
            assert ((x.flatten(1).mean(1) > 0.5) == (y == 1)).all()
