"""The options of a run of offline scoring."""

import sys
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from service.errors import UsageError
from service.inference.options import Options
from service.inference.tta.steps import Model

CPU_BATCH_VIEWS, GPU_BATCH_VIEWS = 32, 256
CPU_CHUNK_IMAGES, GPU_CHUNK_IMAGES = 32, 64


@dataclass(frozen=True)
class ScoreOptions:
    """Which answers to compute, and which of their columns to write."""

    inference: Options = field(default_factory=Options)
    top_k: int = 5
    single: bool = False
    """Also write the single crop's answer, beside the answer with TTA."""
    all_probabilities: bool = False
    sha256: bool = False
    timing: bool = True
    uncertainty: bool = False
    """Also write the margin and the entropy of each answer."""
    embedding: bool = False
    """Also write the embedding of each image: the mean over views."""

    @classmethod
    def of(cls, model: Model, inference: Options, *, top_k: int, **columns: bool) -> Self:
        """The options for one model: its default mode if none is given, and at most K classes."""
        return cls(
            inference.model_copy(update={"tta": model.mode(inference)}),
            min(top_k, len(model.manifest.labels)),
            **columns,
        )

    def check(self, classes: int) -> None:
        """Raises UsageError for a top_k that the model does not have."""
        if not 1 <= self.top_k <= classes:
            raise UsageError(
                f"top_k must be from 1 to {classes} (the classes), but got {self.top_k}"
            )

    def as_dict(self) -> dict[str, Any]:
        options = {**asdict(self), "inference": self.inference.model_dump()}
        if not self.uncertainty:  # results of versions without this option stay the same
            del options["uncertainty"]
        if not self.embedding:
            del options["embedding"]
        if self.inference.known_rate is None:
            del options["inference"]["known_rate"]
        return options


@dataclass(frozen=True)
class Speed:
    """How the work is divided. 0 chooses by the provider. Rows differ by float noise only."""

    batch_views: int = 0
    """The most views that run at once."""
    chunk_images: int = 0
    """Images whose views share batches."""
    decode_threads: int = 0
    infer_threads: int = 0
    """Number of inference threads. On a CPU each runs its own batch."""
    decode_processes: int | None = None
    """Processes that read, decode and make rows. 0: threads of this process do it. None: 0 on a
    CPU, where the network needs the cores; on a GPU one for each core but one."""

    def resolved(self, provider: str, cores: int) -> "Speed":
        """Fill in the zeros."""
        on_cpu = provider == "cpu"
        return Speed(
            self.batch_views or (CPU_BATCH_VIEWS if on_cpu else GPU_BATCH_VIEWS),
            self.chunk_images or (CPU_CHUNK_IMAGES if on_cpu else GPU_CHUNK_IMAGES),
            self.decode_threads or max(2, cores),
            self.infer_threads or cores,
            default_processes(provider, cores)
            if self.decode_processes is None
            else self.decode_processes,
        )


def default_processes(provider: str, cores: int) -> int:
    """Processes that decode, where nobody says how many."""
    if provider == "cpu" or sys.platform == "win32":
        return 0
    return max(1, cores - 1)
