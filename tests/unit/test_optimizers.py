"""Optimizers against torch's and fastai's own, step by step."""

from typing import Any

import pytest
import torch
from fastai.optimizer import SGD, Adam
from torch import nn

from training.fit.loop.optimizers import optimizer
from training.recipe import Recipe, Stage


def network() -> nn.Sequential:
    torch.manual_seed(1)
    # A bias before batch normalization has a gradient of rounding errors, which Adam enlarges.
    convolution = nn.Conv2d(3, 4, 3, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


def recipe(**values: Any) -> Recipe:
    return Recipe(summary="", stages=(Stage(1, 32),), **values)


def wrapped(model: nn.Module, lr: float, wd: float, **values: Any) -> Any:
    made: Any = optimizer(recipe(**values))(list(model.parameters()), lr=lr)
    made.set_hypers(lr=lr, wd=wd)
    return made


def walk(model: nn.Module, stepper: Any, steps: int = 6, first: int = 0) -> None:
    """Some steps on batches that depend on the number of the step only."""
    for step in range(first, first + steps):
        torch.manual_seed(100 + step)
        model(torch.randn(8, 3, 4, 4)).square().mean().backward()
        stepper.step()
        stepper.zero_grad()


def same(one: nn.Module, other: nn.Module, tolerance: float = 1e-6) -> None:
    for (name, ours), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=1e-5, msg=name)


def test_adamw_is_torchs_with_no_decay_of_vectors() -> None:
    ours, theirs = network(), network()
    matrices = [p for p in theirs.parameters() if p.ndim > 1]
    vectors = [p for p in theirs.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": 0.5}, {"params": vectors, "weight_decay": 0}]
    reference = torch.optim.AdamW(groups, lr=0.02, betas=(0.9, 0.99))
    walk(ours, wrapped(ours, 0.02, 0.5, optimizer="adamw"))
    walk(theirs, reference)
    same(ours, theirs)


def test_with_decay_vectors_everything_decays() -> None:
    ours, theirs = network(), network()
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.02, betas=(0.9, 0.99), weight_decay=0.5)
    walk(ours, wrapped(ours, 0.02, 0.5, optimizer="adamw", decay_vectors=True))
    walk(theirs, reference)
    same(ours, theirs)


@pytest.mark.parametrize(("name", "fastais"), [("adam", Adam), ("sgd", SGD)])
def test_adam_and_sgd_compute_what_fastais_compute(name: str, fastais: Any) -> None:
    ours, theirs = network(), network()
    made = wrapped(ours, 0.02, 0.3, optimizer=name, decay_vectors=True)
    reference: Any = fastais(list(theirs.parameters()), lr=0.02, mom=0.9, wd=0.3)
    for first, momentum in ((0, 0.9), (6, 0.8)):  # schedules change it
        made.set_hyper("mom", momentum)
        reference.set_hyper("mom", momentum)
        walk(ours, made, first=first)
        walk(theirs, reference, first=first)
    same(ours, theirs, 1e-5)


@pytest.mark.parametrize(("name", "fastais"), [("adam", Adam), ("sgd", SGD)])
def test_the_state_of_fastais_optimizer_goes_on(name: str, fastais: Any) -> None:
    theirs = network()
    reference: Any = fastais(list(theirs.parameters()), lr=0.02, mom=0.9, wd=0.3)
    walk(theirs, reference)
    ours = network()
    ours.load_state_dict(theirs.state_dict())
    made = wrapped(ours, 0.5, 0.1, optimizer=name, decay_vectors=True)
    saved = reference.state_dict()
    made.load_state_dict({"state": list(saved["state"]), "hypers": list(saved["hypers"])})
    assert made.hypers[0]["lr"] == 0.02
    walk(theirs, reference, first=6)
    walk(ours, made, first=6)
    same(ours, theirs, 1e-5)


@pytest.mark.parametrize(
    "layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"]
)
@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_saved_state_goes_on_bit_for_bit(name: str, layout: torch.memory_format) -> None:
    straight: Any = network()
    straight.to(memory_format=layout)
    made = wrapped(straight, 0.02, 0.3, optimizer=name)
    walk(straight, made)
    resumed: Any = network()
    resumed.load_state_dict(straight.state_dict())
    again = wrapped(resumed, 0.9, 0.0, optimizer=name)
    saved = made.state_dict()  # checkpoints hold contiguous tensors
    saved["state"] = [{k: v.contiguous() for k, v in one.items()} for one in saved["state"]]
    again.load_state_dict(saved)
    resumed.to(memory_format=layout)
    walk(straight, made, first=6)
    walk(resumed, again, first=6)
    for ours, theirs in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_frozen_weights_neither_move_nor_decay() -> None:
    model = network()
    body, head = list(model[0].parameters()), list(model[3].parameters())
    made: Any = optimizer(recipe(optimizer="adamw"))([body, head], lr=0.1)
    made.set_hypers(lr=slice(0.001, 0.1), wd=0.5)
    assert [hyper["lr"] for hyper in made.hypers] == pytest.approx([0.001, 0.1])
    made.freeze()
    before = [p.detach().clone() for p in body]
    walk(model, made)
    assert all(torch.equal(ours, old) for ours, old in zip(body, before, strict=True))
    made.unfreeze()
    walk(model, made)
    assert not torch.equal(body[0], before[0])
