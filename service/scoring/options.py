"""What a run of offline scoring may choose."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from service.errors import UsageError
from service.inference.options import Options
from service.inference.tta.steps import Model

CPU_BATCH_VIEWS, GPU_BATCH_VIEWS = 32, 256
CPU_CHUNK_IMAGES, GPU_CHUNK_IMAGES = 32, 256


@dataclass(frozen=True)
class ScoreOptions:
    """Which answers, and which columns of them."""

    inference: Options = field(default_factory=Options)
    top_k: int = 5
    single: bool = False
    """The single crop's answer beside the one with TTA."""
    all_probabilities: bool = False
    sha256: bool = False
    timing: bool = True

    @classmethod
    def of(cls, model: Model, inference: Options, *, top_k: int, **columns: bool) -> Self:
        """The options for one model: its default mode where none is given, at most K classes."""
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
        return {**asdict(self), "inference": self.inference.model_dump()}


@dataclass(frozen=True)
class Speed:
    """How the work is cut up; 0 chooses by the provider. Rows do not depend on it beyond noise."""

    batch_views: int = 0
    """The most views that run at once."""
    chunk_images: int = 0
    """Images whose views are sorted into batches together."""
    decode_threads: int = 0
    infer_threads: int = 0
    """On a CPU: in all; each runs a batch of its own."""

    def resolved(self, provider: str, cores: int) -> "Speed":
        """Fill in the zeros."""
        on_cpu = provider == "cpu"
        return Speed(
            self.batch_views or (CPU_BATCH_VIEWS if on_cpu else GPU_BATCH_VIEWS),
            self.chunk_images or (CPU_CHUNK_IMAGES if on_cpu else GPU_CHUNK_IMAGES),
            self.decode_threads or max(2, cores),
            self.infer_threads or cores,
        )
