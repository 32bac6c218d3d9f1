"""Compare two methods on the same images: by the answers that one gets right and the other wrong.

Two accuracies of the same images rise and fall together, so their own intervals say little about
their difference. Only the images where exactly one of the two is right count.
"""

from dataclasses import asdict, dataclass
from typing import Any

from training.evaluation.metrics import LEVEL, Labels, Probabilities, bootstrap_mean, losses


@dataclass(frozen=True)
class Paired:
    """A method against a reference, on the same N images."""

    corrected: int
    """Images that the reference answers wrong and the method right."""
    spoiled: int
    """Images that the reference answers right and the method wrong."""
    difference: float
    """Top-1 of the method minus top-1 of the reference, in -1..1."""
    interval: tuple[float, float]
    """95%, of the difference. It excludes 0 exactly if `p_value` is below .05."""
    p_value: float
    """McNemar's exact test, two-sided: how often chance alone gives so uneven a count."""
    nll_difference: float
    """NLL of the method minus NLL of the reference, in nats; below 0 the method is better."""
    nll_interval: tuple[float, float]
    """95%, by bootstrap over images."""

    def facts(self) -> dict[str, Any]:
        """The values for JSON and for the manifest, rounded to six digits."""
        return {key: _rounded(value) for key, value in asdict(self).items()}


def paired(reference: Probabilities, method: Probabilities, labels: Labels) -> Paired:
    """Compare the answers float64[N, K] of two methods for the same N images."""
    before, after = reference.argmax(1) == labels, method.argmax(1) == labels
    corrected, spoiled = int((~before & after).sum()), int((before & ~after).sum())
    worse = losses(method, labels) - losses(reference, labels)
    low, high, p_value = exact(corrected, spoiled, len(labels))
    return Paired(
        corrected=corrected,
        spoiled=spoiled,
        difference=(corrected - spoiled) / len(labels),
        interval=(low, high),
        p_value=p_value,
        nll_difference=float(worse.mean()),
        nll_interval=bootstrap_mean(worse),
    )


def exact(corrected: int, spoiled: int, images: int) -> tuple[float, float, float]:
    """The 95% interval of the difference in accuracy, and the p-value of McNemar's exact test.

    Of the C + S images where exactly one method is right, each is a coin toss between the two.
    Clopper and Pearson's interval of that coin, scaled by (C + S) / N, is the interval.
    """
    from scipy.stats import binomtest  # loaded here: the model card needs the table alone

    changed = corrected + spoiled
    if changed == 0:
        return 0.0, 0.0, 1.0
    test = binomtest(corrected, changed)
    ends = test.proportion_ci(LEVEL, method="exact")
    scale = changed / images
    return (2 * ends.low - 1) * scale, (2 * ends.high - 1) * scale, float(test.pvalue)


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [round(float(one), 6) for one in value]
    return round(value, 6) if isinstance(value, float) else value
