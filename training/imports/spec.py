"""What an importer knows of a model beside its graph."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.package.manifest import InputSize, Label, TaskName

Reference = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""The source's own function: uint8[N, H, W, 3] in RGB -> float32[N, K].

It gives what the source gives: logits, or probabilities where the source ends in a softmax or
sigmoid. It may raise for sizes that the source does not take.
"""


@dataclass(frozen=True)
class ImportSpec:
    """What a package says of an imported model, and what it is compared with."""

    source: str
    """As the user named it: "resnet18.onnx", "timm:resnet18"."""
    labels: Sequence[Label]
    sizes: InputSize
    reference: Reference
    normalization_source: str = "given"
    """Where mean and std come from, for the manifest."""
    task: TaskName | None = None
    """None: multi_label where the source ends in a sigmoid, else single_label."""
    architecture: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """For the manifest: at least "name"."""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """For `provenance.imported`: versions of libraries, the origin of the weights."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """More facts for `provenance`: of the training, where the model was trained here."""
    photos: Sequence[Path] = ()
    """Images for the comparison with the source; without any, drawn pictures are used."""
    version: str = "1"
