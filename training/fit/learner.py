"""A fastai Learner for a recipe: network, loss, optimizer and the callbacks that fit needs."""

from collections.abc import Collection
from functools import partial
from typing import Any

from fastai.data.all import DataLoaders
from fastai.learner import Learner
from fastai.torch_core import params
from torch import nn

from service.package.manifest import TaskName
from training.fit import mixers, multi_scale, precision
from training.fit.loop.optimizers import optimizer
from training.fit.loop.smooth_loss import DeviceSmoothLoss
from training.fit.losses import loss_of
from training.network import architecture
from training.network.backbone import head_names
from training.recipe import Recipe
from training.task import TRAINING_TASKS


def body_and_head(model: nn.Module) -> list[list[nn.Parameter]]:
    """Two parameter groups, so that the body can be frozen: all layers but one, and the last."""
    *body, head = model.children()  # a slice of an xresnet cannot be built
    return [params(nn.Sequential(*body)), params(head)]


def backbone_groups(model: nn.Module, head: Collection[str]) -> list[list[nn.Parameter]]:
    """Three parameter groups: the first half of the body, the second half, the weights `head`.

    fastai's vision_learner splits its ResNets so.
    """
    named = list(model.named_parameters())
    body = [parameter for name, parameter in named if name not in head]
    middle = len(body) // 2
    return [body[:middle], body[middle:], [one for name, one in named if name in head]]


def one_group(model: nn.Module) -> list[nn.Parameter]:
    """One parameter group: a network trained from scratch has nothing to freeze."""
    return params(model)


def learner(
    recipe: Recipe,
    dls: DataLoaders,
    classes: int,
    pretrained: bool,
    task: TaskName = "single_label",
) -> Learner:
    """The Learner of a recipe; `pretrained` splits body and head for fine-tuning.

    Its metric is the share of right answers: for images, or for each yes or no of a multi-label
    task.
    """
    speed, _ = precision.callbacks()
    kind = recipe.architecture
    splitter: Any = one_group
    if pretrained:
        splitter = body_and_head
        if kind.is_backbone:
            splitter = partial(backbone_groups, head=head_names(kind.name))
    made: Any = Learner(
        dls,
        architecture.build(kind, classes),
        loss_func=loss_of(recipe, task),
        opt_func=optimizer(recipe),
        splitter=splitter,
        metrics=TRAINING_TASKS[task].metric(),
        wd=recipe.weight_decay,
        wd_bn_bias=recipe.decay_vectors,
        cbs=[*speed, *multi_scale.multi_scale(recipe), *mixers.mixer(recipe)],
    )
    if hasattr(made, "progress"):
        made.remove_cb(made.progress)
    made.recorder.smooth_loss = DeviceSmoothLoss()
    made.logger = lambda *_: None  # the run itself reports its epochs
    return made
