"""A package's weights come back into torch as they were stored."""

from pathlib import Path

import torch

from tests.support.images import drawn
from tests.support.untrained import STATS, network, normalized
from training.export.graph import ServingGraph, to_onnx
from training.network import architecture
from training.network.initial_weights import load_matching
from training.network.weights import round_to_fp16, store_fp16, weights_from_package, weights_of
from training.recipe import Architecture


def learned(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    state = network.state_dict()
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def test_every_weight_comes_back_rounded_under_its_own_name(exported: Path) -> None:
    expected = round_to_fp16(learned(network()))
    weights = weights_from_package(exported)
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert weights[name].dtype == torch.float32
        assert torch.equal(weights[name], value), name


def test_only_large_weights_are_rounded() -> None:
    weights = {"conv": torch.full((8, 128), 0.1), "bias": torch.full((4096,), 0.1)}
    rounded = round_to_fp16(weights)
    assert not torch.equal(rounded["conv"], weights["conv"])
    assert torch.equal(rounded["bias"], weights["bias"])


def test_self_attention_comes_back_through_its_spectral_normalization() -> None:
    kind = Architecture("xresnet18", act="mish", self_attention=True, widen=0.25)
    first = network(kind)
    exported = store_fp16(to_onnx(ServingGraph(first, STATS.mean, STATS.std)))
    second = architecture.build(kind, 3).eval()
    assert load_matching(second, weights_of(exported)) == []
    x = normalized(torch.from_numpy(drawn(64, 96)[None].copy()))
    with torch.inference_mode():
        expected, got = first(x), second(x)
    assert float((got - expected).abs().max()) < 5e-3 * float(expected.abs().max())
