"""Weights from files: what is read, and what is refused without running code of the file."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from service.errors import ImportRefused, UsageError
from training.imports.sources import weights


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 5))


@pytest.mark.parametrize("wrapped", ["plain", "state_dict", "model", "module.", "_orig_mod."])
def test_every_usual_form_is_read(tmp_path: Path, wrapped: str) -> None:
    own = network().state_dict()
    path = tmp_path / "weights.pth"
    if wrapped.endswith("."):
        torch.save({wrapped + name: value for name, value in own.items()}, path)
    else:
        torch.save(own if wrapped == "plain" else {wrapped: own, "epoch": 3}, path)
    found = weights.read(path)
    assert found.keys() == own.keys()
    assert weights.classes(found, "3", path) == 5
    target = network()
    weights.load(target, found, path)
    assert all(torch.equal(value, own[name]) for name, value in target.state_dict().items())


def test_safetensors_without_batch_counts_are_read(tmp_path: Path) -> None:
    own = {k: v for k, v in network().state_dict().items() if not k.endswith("batches_tracked")}
    path = tmp_path / "weights.safetensors"
    save_file(own, path)
    weights.load(network(), weights.read(path), path)


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path(RAN),))  # type: ignore[return-value]


RAN = "ran-by-a-pickle"


def test_a_pickle_of_more_than_tensors_is_refused_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": network().state_dict(), "hook": Hostile()}, "hostile.pth")
    Path("plain.pth").write_bytes(pickle.dumps(Hostile()))
    torch.save(network(), "whole.pth")
    for name in ("hostile.pth", "plain.pth", "whole.pth"):
        with pytest.raises(ImportRefused, match=name):
            weights.read(Path(name))
    assert not Path(RAN).exists()


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(UsageError, match="no such file"):
        weights.read(path)
    for bad in (b"", b"\x00" * 100, b"PK\x03\x04"):
        path.write_bytes(bad)
        with pytest.raises(ImportRefused, match="weights"):
            weights.read(path)
    torch.save([1, 2], path)
    with pytest.raises(ImportRefused, match="list"):
        weights.read(path)
    own = network().state_dict()
    without = {name: value for name, value in own.items() if name != "0.bias"}
    with pytest.raises(ImportRefused, match=r"lacks 1 of 9 weights of the model: 0\.bias"):
        weights.load(network(), without, path)
    with pytest.raises(ImportRefused, match="1 weights that the model does not have: more"):
        weights.load(network(), {**own, "more": torch.zeros(1)}, path)
    with pytest.raises(ImportRefused, match=r"3\.bias must have the shape \[5\], but has \[6\]"):
        weights.load(network(), {**own, "3.bias": torch.zeros(6)}, path)
    with pytest.raises(ImportRefused, match=r"no fc\.weight"):
        weights.classes(own, "fc", path)
