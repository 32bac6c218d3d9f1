"""The results file of a measurement: every sample, and the conditions needed to repeat it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from service.bench.environment import Environment, PackageIdentity
from service.bench.report.statistics import Interval, mean_interval, percentile
from service.errors import UsageError
from service.package.manifest import Metrics, Mode, Precision
from service.scoring.files import read_bytes

SCHEMA_VERSION = 1
PERCENTILES = (50.0, 90.0, 99.0, 99.9)

Phase = Literal["decode", "resize", "views", "inference", "aggregation"]
PHASES: tuple[Phase, ...] = ("decode", "resize", "views", "inference", "aggregation")


class ReportPart(BaseModel):
    """A frozen part of a results file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Summary(ReportPart):
    """A distribution of times."""

    n: int
    mean_ms: float
    mean_low_ms: float
    mean_high_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p999_ms: float
    """The largest sample if there are fewer than 1000."""

    @classmethod
    def of(cls, samples_ms: list[float]) -> "Summary":
        """Summarize; the mean has its 95% bootstrap interval."""
        mean = mean_interval(samples_ms)
        p50, p90, p99, p999 = (percentile(samples_ms, p) for p in PERCENTILES)
        return cls(
            n=len(samples_ms),
            mean_ms=mean.value,
            mean_low_ms=mean.low,
            mean_high_ms=mean.high,
            p50_ms=p50,
            p90_ms=p90,
            p99_ms=p99,
            p999_ms=p999,
        )


class Case(ReportPart):
    """One thing to time: a batch of images in one mode at one precision."""

    precision: Precision
    mode: Mode
    batch_images: int = Field(gt=0)
    control: bool = False
    """The single crop, run a second time. Its ratio to the first shows the machine's noise."""

    def __str__(self) -> str:
        again = " (control)" if self.control else ""
        return f"{self.mode} {self.precision} batch {self.batch_images}{again}"


class CaseResult(ReportPart):
    """One case: one sample for each round, and the time of each phase."""

    case: Case
    total: Summary
    images_per_second: float
    passes_per_image: float
    phases_ms: dict[Phase, float]
    """Median of each phase."""
    ratio: Interval | None
    """Cost in single crops of the same precision and batch size, decoding included."""
    ratio_without_decode: Interval | None
    samples_ms: dict[Phase, list[float]]

    @property
    def totals_ms(self) -> list[float]:
        return [sum(phases) for phases in zip(*self.samples_ms.values(), strict=True)]


class LatencyReport(ReportPart):
    """`quincunx bench latency`."""

    kind: Literal["latency"] = "latency"
    schema_version: Literal[1] = SCHEMA_VERSION
    environment: Environment
    package: PackageIdentity
    provider: str
    threads: int
    images: str
    """The source and the kind of the images."""
    rounds: int
    warm_up_rounds: int
    seconds: float
    seed: int
    cases: tuple[CaseResult, ...]
    accuracy: tuple[Metrics, ...] = ()
    """Metrics of each mode from the manifest, for the plot of accuracy against time."""
    notes: tuple[str, ...] = ()
    """Notes for the reader: noise, and modes that cannot be told apart."""


class LoadSettings(ReportPart):
    """How load was made."""

    url: str
    arrivals: Literal["poisson", "constant", "closed"]
    mix: dict[Mode, float]
    images: str
    processes: int
    connections: int
    """The most requests in flight at once. An open-loop request that waits for a free connection
    counts as late."""
    seconds: float
    warm_up_seconds: float
    timeout_s: float
    seed: int


class LoadStep(ReportPart):
    """One rate, held for a while. Times are in ms; unanswered requests have none."""

    offered_per_second: float | None
    """None in a closed loop, in which the server determines the rate."""
    users: int | None = None
    """Of a closed loop."""
    sent: int
    answered: int
    refused: int
    """Answered 429."""
    failed: int
    """Any other status, a broken connection, or no answer before the time-out."""
    answered_per_second: float
    latency: Summary | None
    """Measured from the time when a request was due, not from when it was sent."""
    by_mode: dict[Mode, Summary]
    worst_percentile_ms: float | None
    """The SLO's percentile over all requests. Unanswered requests count as infinitely late; if the
    percentile is infinite, this is None."""
    lateness_p99_ms: float
    """How late the client itself sent requests."""
    client_cpu: float
    """The busiest worker's use of one core."""
    client_limited: str | None
    """Why the client, not the server, was the limit; None if it was not."""
    latencies_ms: dict[Mode, list[float]]
    """Every answered request, in the order of due times."""

    @property
    def name(self) -> str:
        """The step in a word or two."""
        if self.offered_per_second is None:
            return f"{self.users} users"
        return f"{self.offered_per_second:.1f}/s"


class LoadReport(ReportPart):
    """`quincunx bench load`."""

    kind: Literal["load"] = "load"
    schema_version: Literal[1] = SCHEMA_VERSION
    environment: Environment
    settings: LoadSettings
    slo_ms: float | None
    slo_percentile: float
    steps: tuple[LoadStep, ...]
    best_per_second: float | None
    """The highest tried rate that kept the SLO; None without an SLO, or if no rate kept it."""
    notes: tuple[str, ...] = ()


Report = Annotated[LatencyReport | LoadReport, Field(discriminator="kind")]
_REPORT: TypeAdapter[LatencyReport | LoadReport] = TypeAdapter(Report)


def read(path: Path) -> LatencyReport | LoadReport:
    """Read a results file.

    Raises:
        UsageError: no such file, or not a results file.
    """
    try:
        return _REPORT.validate_json(read_bytes(str(path)))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise UsageError(f"{path} is not a results file: {first['msg']} at {where}") from error
