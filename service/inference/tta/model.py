"""The facts about a package that the generators of `service.inference.tta.steps` need."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial

from service.errors import UsageError
from service.inference.options import OFF, Options
from service.inference.tta.evidence import Evidence
from service.inference.tta.passes import CropFeatureProvider
from service.inference.tta.planner import Planner
from service.inference.tta.task import TASKS, Task
from service.inference.unknown import Curve, Unknown, UnknownScorer, threshold_at
from service.package import modes
from service.package.manifest import Gate, Manifest, Mode, ModeCalibration, Precision


@dataclass(frozen=True)
class Model:
    """The facts about a package that `classify_steps` needs: its manifest at one precision."""

    manifest: Manifest
    precision: Precision
    crop_features: CropFeatureProvider | None = None
    """None: every crop runs whole."""
    unknown: UnknownScorer | None = None

    @cached_property
    def planner(self) -> Planner:
        return Planner(self.manifest.input, self.manifest.adaptive, self.manifest.graph)

    @property
    def task(self) -> Task:
        return TASKS[self.manifest.task]

    def mode(self, options: Options) -> Mode:
        """The mode in `options`, or the package's default mode."""
        return options.tta or self.manifest.default_mode

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that can be answered at this precision."""
        return modes.modes(self.manifest, self.precision)

    def is_calibrated(self, mode: Mode) -> bool:
        """Whether a temperature was fitted for `mode`.

        If not, probabilities are those of the network.
        """
        return self._fitted(mode) is not None

    def calibration(self, mode: Mode) -> ModeCalibration:
        return self._fitted(mode) or self.manifest.calibration_for(self.precision, mode)

    @cached_property
    def _fitted(self) -> Callable[[Mode], ModeCalibration | None]:
        """A search through the manifest, once for each mode."""
        return cache(partial(self.manifest.fitted_for, self.precision))

    @property
    def embeds(self) -> bool:
        """Whether the graph gives embeddings. They then come with every result, at no cost."""
        return self.manifest.graph.embedding is not None

    def unknown_curve(self, mode: Mode, known_rate: float | str | None) -> Curve | None:
        """The curve of `mode`; None: there is none, or `known_rate` is off."""
        if self.unknown is None or known_rate == OFF:
            return None
        return self.calibration(mode).unknown_curve

    def unknown_of(self, evidence: Evidence | None, options: Options) -> Unknown | None:
        """The unknown score of an answer.

        Raises:
            UsageError: a known rate out of the curve's range.
        """
        curve = self.unknown_curve(self.mode(options), options.known_rate)
        if self.unknown is None or curve is None or evidence is None:
            return None
        asked = options.known_rate
        rate = self.unknown.model.known_rate if asked is None else float(asked)
        score = float(self.unknown.score(evidence.embedding, evidence.logits))
        threshold = threshold_at(curve, rate)
        return Unknown(score, threshold, score > threshold, rate)

    def gate(self, gate_cost: float | None) -> Gate:
        """The package's gate of `adaptive`, or the gate with the highest cost within `gate_cost`.

        Raises:
            UsageError: the package has no gate, or every gate costs more.
        """
        calibration = self.calibration("adaptive")
        if calibration.gate is None:
            raise UsageError(
                f"{self.manifest.name} has no gate for adaptive TTA at {self.precision}: "
                f"run quincunx calibrate, or use {self.planner.second_mode}"
            )
        if gate_cost is None:
            return calibration.gate
        affordable = [g for g in calibration.gate_curve if g.expected_cost <= gate_cost]
        if not affordable:
            least = min((g.expected_cost for g in calibration.gate_curve), default=1.0)
            raise UsageError(f"gate_cost {gate_cost:g} is below the cheapest gate, {least:.2f}")
        return max(affordable, key=lambda gate: gate.expected_cost)

    def quantiles(self, options: Options) -> dict[str, float]:
        """The conformal quantile of each coverage, as fitted on answers with the same options.

        Raises:
            UsageError: see `gate`.
        """
        mode = self.mode(options)
        if mode == "adaptive" and options.gate_cost is not None:
            return self.gate(options.gate_cost).conformal
        return self.calibration(mode).conformal
