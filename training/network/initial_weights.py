"""Weights to start from: another model package's, or another run's checkpoint."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from service.console.text import storable
from service.errors import UsageError
from service.package.package import ModelPackage
from training.data.stats import ChannelStats
from training.network.weights import weights_from_package
from training.run import checkpoint


@dataclass(frozen=True)
class InitialWeights:
    """The weights of `--init` under torch's names, and the normalization that they expect."""

    weights: dict[str, torch.Tensor]
    stats: ChannelStats
    source: dict[str, Any]
    """Their origin: a name and the known facts of their training."""


def read_initial_weights(folder: Path) -> InitialWeights:
    """Read the weights of a model package or of a run's folder.

    Raises:
        ModelPackageError, DataError: the folder holds neither, or a broken one.
    """
    if (folder / checkpoint.STATE).exists():
        run = checkpoint.load(folder)
        stats = ChannelStats.from_json(run.facts["normalization"])
        return InitialWeights(run.weights, stats, of_run(folder, run.facts))
    manifest = ModelPackage.load(folder).manifest
    stats = manifest.normalization
    return InitialWeights(
        weights_from_package(folder),
        ChannelStats(stats.mean, stats.std, stats.source),
        {"name": f"{manifest.name}@{manifest.version}", **_known(manifest.provenance)},
    )


def of_run(folder: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """A run's name, and the facts of its training from its checkpoint."""
    history = facts["history"]
    seconds = round(sum(row["seconds"] for row in history))
    known = {**facts, "epochs": len(history), "training_seconds": seconds}
    known["dataset"] = {"content": facts.get("content")}
    return {"name": storable(folder.resolve().name), **_known(known)}


def _known(provenance: dict[str, Any]) -> dict[str, Any]:
    keys = ("recipe", "epochs", "training_seconds", "started_from", "weights_from")
    known = {key: provenance[key] for key in keys if provenance.get(key) is not None}
    if content := (provenance.get("dataset") or {}).get("content"):
        known["dataset"] = {"content": content}  # to know these training images again
    return known


def load_matching(
    model: torch.nn.Module, weights: dict[str, torch.Tensor], head: Collection[str] | None = None
) -> list[str]:
    """Load every weight with a matching name and shape. Returns the names of untrained weights.

    A head for another number of classes stays untrained. Any other mismatch is an error. `head` are
    the names of its weights, by default those of the last layer.

    Raises:
        UsageError: a weight of the body is missing or has another shape.
    """
    own = model.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    # Batch counts exist in training only; a package does not need them.
    learned = [key for key in own if not key.endswith("num_batches_tracked")]
    left = [key for key in learned if key not in fitting]
    if head is None:
        last = learned[-1].rpartition(".")[0]
        head = {key for key in learned if key.rpartition(".")[0] == last}
    if set(left) - set(head):
        raise UsageError(
            f"--init: {len(left)} of {len(learned)} weights are missing there or have another "
            f"shape, {left[0]} first: the architecture must be that of the recipe"
        )
    model.load_state_dict(fitting, strict=False)
    return left
