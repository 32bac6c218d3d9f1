"""Checkpoints: nothing lost, nothing pickled, and a kill at any moment leaves a whole one."""

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from service.errors import DataError, OutOfResources
from training.run import checkpoint
from training.run.checkpoint import Checkpoint


def made(value: float) -> Checkpoint:
    weights = {"0.weight": torch.full((3, 2), value), "1.num_batches_tracked": torch.tensor(7)}
    state = {"mom": torch.arange(4.0) * value, "step": 12, "on": True, "none": None}
    optimizer = {"state": [state, {}], "hypers": [{"lr": 0.1}], "slow": [[torch.ones(2)]]}
    return Checkpoint(weights, optimizer, {"history": [{"epoch": 1}], "value": value})


def equal(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and set(one) == set(other)
            and all(equal(one[key], other[key]) for key in one)
        )
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(equal, one, other))
    return one == other


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saved = made(1.5)
    checkpoint.save(tmp_path, saved)
    loaded = checkpoint.load(tmp_path)
    assert equal(loaded.weights, saved.weights)
    assert equal(loaded.optimizer, saved.optimizer)
    assert loaded.facts == saved.facts


def test_a_channels_last_weight_keeps_its_values(tmp_path: Path) -> None:
    weight = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    checkpoint.save(tmp_path, Checkpoint({"w": weight}, {}, {}))
    assert torch.equal(checkpoint.load(tmp_path).weights["w"], weight)


def test_no_file_is_a_pickle(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, made(1.0))
    assert {path.name for path in tmp_path.iterdir()} == {checkpoint.STATE, checkpoint.TENSORS}
    assert all(b"torch._utils" not in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_kills_while_saving_leave_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int
) -> None:
    """One save is killed after so many of its renames, the next one before its last."""
    checkpoint.save(tmp_path, made(1.0))
    rename = os.replace
    left = renames

    def killed_by_count(source: Path, target: Path) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        rename(source, target)

    def killed_before_the_last(source: Path, target: Path) -> None:
        if target.name == checkpoint.STATE:
            raise KeyboardInterrupt
        rename(source, target)

    for value, killed in ((2.0, killed_by_count), (3.0, killed_before_the_last)):
        monkeypatch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, made(value))
        monkeypatch.undo()
        loaded = checkpoint.load(tmp_path)
        assert loaded.facts["value"] == 1.0
        assert torch.equal(loaded.weights["0.weight"], torch.full((3, 2), 1.0))
    checkpoint.save(tmp_path, made(4.0))
    assert checkpoint.load(tmp_path).facts["value"] == 4.0


def test_tensors_of_another_save_are_refused(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, made(1.0))
    tensors = tmp_path / checkpoint.TENSORS
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DataError, match="are not the ones"):
        checkpoint.load(tmp_path)


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no checkpoint in"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), SafetensorError("full")])
def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    checkpoint.save(tmp_path, made(1.0))

    def failing(_: object, file: Path) -> None:
        file.write_bytes(b"a part")
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "save_file", failing)
        with pytest.raises(OutOfResources, match=r"no checkpoint can be written in .*--resume"):
            checkpoint.save(tmp_path, made(2.0))
    assert {path.name for path in tmp_path.iterdir()} == {checkpoint.STATE, checkpoint.TENSORS}
    assert checkpoint.load(tmp_path).facts["value"] == 1.0
