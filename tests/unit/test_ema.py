"""The moving average of weights, against the formula computed by hand."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from training.fit.loop.ema import WeightAverage, decay_at
from training.recipe import Ema


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def step(model: nn.Module) -> None:
    """Change the parameters, and the running statistics with a batch."""
    model(torch.randn(5, 3, 2, 2) + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))


def test_the_decay_warms_up() -> None:
    assert [decay_at(Ema(decay=0.9), t) for t in (1, 8, 80, 1000)] == pytest.approx(
        [2 / 11, 9 / 18, 0.9, 0.9]
    )
    assert decay_at(Ema(decay=0.9, warm_up=0), 1) == 0.9


def test_the_average_is_the_formula_and_is_what_is_validated() -> None:
    model, ema = network(), Ema(decay=0.6, warm_up=3)
    made: Any = WeightAverage(ema, model, model.state_dict(), 0)
    made.learn = SimpleNamespace(model=model)
    expected = {k: v.clone().double() for k, v in model.state_dict().items()}
    made.before_train()
    for t in range(1, 8):
        step(model)
        made.after_step()
        decay = min(0.6, (1 + t) / (3 + t))
        for name, value in model.state_dict().items():
            counted = name.endswith("num_batches_tracked")
            kept = value if counted else decay * expected[name] + (1 - decay) * value
            expected[name] = kept.double()
    live = {k: v.clone() for k, v in model.state_dict().items()}
    for name, value in made.averaged(model).items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    made.before_validate()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    made.after_validate()
    assert all(torch.equal(value, live[name]) for name, value in model.state_dict().items())


def test_a_saved_average_goes_on_bit_for_bit() -> None:
    model, ema = network(), Ema(decay=0.9)
    made: Any = WeightAverage(ema, model, model.state_dict(), 0)
    made.learn = SimpleNamespace(model=model)
    made.before_train()
    for _ in range(3):
        step(model)
        made.after_step()
    again: Any = WeightAverage(ema, model, made.averaged(model), made.steps)
    again.learn = made.learn
    again.before_train()
    step(model)
    made.after_step()
    again.after_step()
    one, other = made.averaged(model), again.averaged(model)
    assert all(torch.equal(one[name], other[name]) for name in one)
