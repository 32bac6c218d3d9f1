"""What mixed and smoothed labels amount to: the closed forms, through the losses that train.

A soft target t gives the cross-entropy -sum(t * log p), whose gradient in the logits is p - t. So
the target that a loss stands for is read off its gradient: t = p - gradient.
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from training.fit import mixers
from training.fit.learner import loss_of
from training.recipe import Mix, Recipe, Stage

N, K, SIDE = 6, 5, 32
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


def recipe(**values: Any) -> Recipe:
    return Recipe(summary="", stages=(Stage(1, 32),), **values)


def smoothed(labels: Tensor, eps: float) -> Tensor:
    """The closed form: eps/K everywhere, 1 - eps + eps/K at the label: float64[N, K]."""
    targets = torch.full((len(labels), K), eps / K, dtype=torch.float64)
    targets[torch.arange(len(labels)), labels] = 1 - eps + eps / K
    return targets


def target_behind(loss: Any, labels: Tensor) -> Tensor:
    """The soft targets that a mean-reduced loss stands for: float64[N, K]."""
    torch.manual_seed(1)
    logits = torch.randn(N, K, dtype=torch.float64, requires_grad=True)
    loss(logits, labels).backward()
    assert logits.grad is not None
    return (logits.softmax(1) - logits.grad * N).detach()


def mixed(made: Recipe, seed: int) -> tuple[Any, Tensor, Any]:
    """A batch after the recipe's mixer: the mixer, the mixed images, the loss it trains with.

    Image i is filled with the value i, so that a pixel says where it came from.
    """
    torch.manual_seed(seed)
    mixer: Any = mixers.mixer(made)[0]
    images = torch.arange(N).float().view(N, 1, 1, 1).expand(N, 3, SIDE, SIDE).contiguous()
    learn = SimpleNamespace(
        xb=(images,), yb=(LABELS,), x=images, y=LABELS, training=True, loss_func=loss_of(made)
    )
    mixer.learn = learn
    mixer.before_train()
    mixer.before_batch()
    # Shrinking an image of one value changes it by rounding errors only.
    pixels = learn.xb[0] if made.mixer == "mixup" else learn.xb[0].round()
    return mixer, pixels, learn.loss_func


@pytest.mark.parametrize("eps", [0.0, 0.1, 0.3])
def test_label_smoothing_is_the_closed_form(eps: float) -> None:
    target = target_behind(loss_of(recipe(label_smoothing=eps)), LABELS)
    torch.testing.assert_close(target, smoothed(LABELS, eps), atol=1e-6, rtol=0)
    torch.testing.assert_close(target.sum(1), torch.ones(N).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("eps", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["mixup", "cutmix", "resizemix"])
def test_mixed_targets_are_weighted_by_lambda_and_smoothed(kind: str, eps: float) -> None:
    mixer, _, loss = mixed(recipe(mixer=kind, label_smoothing=eps), seed=3)
    lam = torch.as_tensor(mixer.lam).double().flatten().expand(N).view(N, 1)
    other = mixer.yb1[0]
    assert (other != LABELS).any()
    expected = lam * smoothed(LABELS, eps) + (1 - lam) * smoothed(other, eps)
    torch.testing.assert_close(target_behind(loss, LABELS), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_mixup_blends_pixels_as_it_blends_labels(seed: int) -> None:
    mixer, images, _ = mixed(recipe(mixer="mixup"), seed)
    assert ((mixer.lam >= 0.5) & (mixer.lam <= 1)).all()
    own = torch.arange(N).float()
    torch.manual_seed(seed)
    for i in range(N):
        assert images[i].unique().numel() == 1
        value = float(images[i, 0, 0, 0])
        partners = [
            j
            for j in range(N)
            if abs(mixer.lam[i] * own[i] + (1 - mixer.lam[i]) * j - value) < 1e-5
        ]
        assert any(LABELS[j] == mixer.yb1[0][i] for j in partners)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", ["cutmix", "resizemix"])
def test_lambda_is_the_share_of_pixels_left(kind: str, seed: int) -> None:
    mixer, images, _ = mixed(recipe(mixer=kind, mixer_alpha=1.0), seed)
    lam = float(torch.as_tensor(mixer.lam))
    for i in range(N):
        values = images[i, 0].unique()
        pasted = [int(v) for v in values if int(v) != i]
        assert len(pasted) <= 1
        if pasted:
            assert LABELS[pasted[0]] == mixer.yb1[0][i]
            share = float((images[i, 0] == i).float().mean())
            assert share == pytest.approx(lam, abs=1e-6)


def test_resizemix_pastes_the_whole_image_shrunk() -> None:
    torch.manual_seed(0)
    mixer = mixers.ResizeMix(scale=(0.5, 0.5))
    ramp = torch.linspace(0, 1, SIDE).view(1, 1, 1, SIDE).expand(2, 3, SIDE, SIDE).contiguous()
    images = torch.stack([ramp[0] * 0 - 5, ramp[0]])
    labels = torch.tensor([0, 1])
    learn = SimpleNamespace(
        xb=(images,), yb=(labels,), x=images, y=labels, training=True, loss_func=nn.Identity()
    )
    mixer.learn = learn
    mixer.before_train()
    while True:
        mixer.before_batch()
        if mixer.yb1[0][0] == 1:
            break
    pasted = learn.xb[0][0, 0]
    rows = pasted[(pasted != -5).any(1)]
    inside = rows[:, (rows != -5).any(0)]
    assert inside.shape == (SIDE // 2, SIDE // 2)
    # Both ends of the ramp are there, as they would not be in a cut-out of half the size.
    assert float(inside.min()) < 0.05
    assert float(inside.max()) > 0.95
    assert float(torch.as_tensor(mixer.lam)) == pytest.approx(0.75)


def test_no_mixer_is_no_callback() -> None:
    assert mixers.mixer(recipe()) == []


MIX = (Mix("mixup", share=0.5, alpha=0.2), Mix("cutmix", share=0.3, alpha=1.0))


def test_several_mixers_share_the_batches() -> None:
    made = recipe(mixes=MIX, label_smoothing=0.1)
    chosen = {"MixUp": 0, "CutMix": 0, "NoneType": 0}
    for seed in range(200):
        mixer, images, loss = mixed(made, seed)
        chosen[type(mixer.chosen).__name__] += 1
        if mixer.chosen is None:
            assert torch.equal(images, images[:, :1, :1, :1].expand_as(images))
            assert loss(torch.eye(N, K), LABELS) == loss_of(made)(torch.eye(N, K), LABELS)
    assert chosen["MixUp"] == pytest.approx(100, abs=25)
    assert chosen["CutMix"] == pytest.approx(60, abs=22)
    assert chosen["NoneType"] == pytest.approx(40, abs=20)


@pytest.mark.parametrize("seed", range(4))
def test_a_mixed_batch_of_several_mixers_has_their_targets(seed: int) -> None:
    made = recipe(mixes=(Mix("cutmix", share=1.0, alpha=1.0),), label_smoothing=0.1)
    mixer, images, loss = mixed(made, seed)
    kept = float((images[0, 0] == 0).float().mean())
    lam = torch.full((N, 1), float(mixer.lam)).double()
    assert kept in (pytest.approx(float(mixer.lam), abs=1e-6), 1.0)
    expected = lam * smoothed(LABELS, 0.1) + (1 - lam) * smoothed(mixer.yb1[0], 0.1)
    torch.testing.assert_close(target_behind(loss, LABELS), expected, atol=1e-6, rtol=0)


def test_cutmix_draws_what_fastais_draws() -> None:
    from fastai.callback.mixup import CutMix

    for seed in range(10):
        results: list[Tensor] = []
        for kind in (mixers.CutMix, CutMix):
            torch.manual_seed(seed)
            mixer: Any = kind(1.0)
            images = torch.rand(N, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
            learn = SimpleNamespace(
                xb=(images,),
                yb=(LABELS,),
                x=images,
                y=LABELS,
                training=True,
                loss_func=loss_of(recipe()),
            )
            mixer.learn = learn
            mixer.before_train()
            mixer.before_batch()
            results += [learn.xb[0], torch.as_tensor(mixer.lam).float().flatten()]
        assert torch.equal(results[0], results[2])
        torch.testing.assert_close(results[1], results[3])
