"""Distillation: the divergence, and which teachers there are."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from service.errors import UsageError
from service.package.package import ModelPackage
from tests.support.images import drawn
from training.data.stats import ChannelStats
from training.fit.loop.distillation import Distilled, class_divergence, label_divergence
from training.fit.loop.teacher import in_onnx_runtime, open_teacher
from training.recipe import Distillation

CLASSES = ("blue", "green", "red")


def logits(seed: int) -> torch.Tensor:
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_the_divergence_of_classes_is_the_closed_form(temperature: float) -> None:
    student, teacher = logits(1), logits(2)
    p, q = ((x / temperature).softmax(1) for x in (teacher, student))
    expected = temperature**2 * (p * (p.log() - q.log())).sum(1).mean()
    torch.testing.assert_close(class_divergence(student, teacher, temperature), expected)
    assert float(class_divergence(teacher, teacher, temperature)) == pytest.approx(0)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_divergence_of_labels_is_the_closed_form(temperature: float) -> None:
    student, teacher = logits(1), logits(2)
    p, q = ((x / temperature).sigmoid() for x in (teacher, student))
    each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(
        label_divergence(student, teacher, temperature), temperature**2 * each.mean()
    )
    assert float(label_divergence(teacher, teacher, temperature)) == pytest.approx(0)


def test_the_teacher_sees_the_pixels_of_the_batch_and_its_term_is_added() -> None:
    seen: list[torch.Tensor] = []

    def teacher(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(pixels)
        return logits(2).float()

    stats = ChannelStats((0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "dataset")
    pixels = torch.rand(5, 3, 8, 8)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (stats.mean, stats.std))
    made: Any = Distilled(teacher, Distillation(0.7, 2.0), stats, "single_label")
    student = logits(1).float().requires_grad_()
    loss = torch.tensor(1.5)
    made.learn = SimpleNamespace(x=(pixels - mean) / std, pred=student, loss_grad=loss, loss=loss)
    made.after_loss()
    torch.testing.assert_close(seen[0], pixels)
    expected = 1.5 + 0.7 * float(class_divergence(student.detach(), logits(2).float(), 2.0))
    assert float(made.learn.loss) == pytest.approx(expected)
    made.learn.loss_grad.backward()
    assert student.grad is not None
    assert not made.learn.loss.requires_grad


def test_a_run_its_package_and_its_graph_are_the_same_teacher(
    run_folder: Path, exported: Path
) -> None:
    pixels = torch.stack([torch.from_numpy(drawn(64, 96, i)) for i in range(3)])
    pixels = pixels.permute(0, 3, 1, 2).float() / 255
    of_run = open_teacher(run_folder, CLASSES, "single_label").logits(pixels)
    of_package = open_teacher(exported, CLASSES, "single_label").logits(pixels)
    package = ModelPackage.load(exported)
    path, manifest = package.path("fp32"), package.manifest
    of_graph = in_onnx_runtime(path, package.read("fp32"), manifest)(pixels)
    torch.testing.assert_close(of_package, of_run, rtol=0.01, atol=0.02)  # weights in float16
    torch.testing.assert_close(of_graph, of_package, rtol=1e-3, atol=1e-3)

    turned = open_teacher(exported, CLASSES[::-1], "single_label").logits(pixels)
    torch.testing.assert_close(turned, of_package.flip(1))


def test_a_graph_of_fixed_size_sees_resized_images(exported: Path) -> None:
    package = ModelPackage.load(exported)
    graph = package.manifest.graph.model_copy(update={"sizes": ((64, 64),)})
    manifest = package.manifest.model_copy(update={"graph": graph})
    made = in_onnx_runtime(package.path("fp32"), package.read("fp32"), manifest)
    smooth = torch.from_numpy(np.full((2, 3, 128, 128), 0.25, np.float32))
    torch.testing.assert_close(made(smooth), made(smooth[..., :64, :64]))


def test_other_classes_and_other_tasks_are_refused(exported: Path, run_folder: Path) -> None:
    with pytest.raises(UsageError, match="1 are in one of them only, 'pink' first"):
        open_teacher(exported, [*CLASSES, "pink"], "single_label")
    with pytest.raises(UsageError, match="is single_label, and the data are multi_label"):
        open_teacher(run_folder, CLASSES, "multi_label")
