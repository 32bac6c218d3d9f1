"""The population stability index (PSI) of two distributions.

The sum over bins of (o - e) ln(o / e), for observed and expected shares o and e. Common practice
reads below 0.1 as stable and above 0.25 as a shift.
"""

import math
from collections.abc import Sequence

LEAST_SHARE = 0.05
"""Neighbouring bins are merged until each is expected this often. Rare bins are mostly noise."""
LEAST_IMAGES = 5
"""Reference images in a merged bin."""
PSEUDO_COUNT = 0.5
"""Added to each observed bin, so that an empty bin does not give infinity."""


def stability_index(
    observed: Sequence[float], expected: Sequence[float], reference_images: int
) -> float:
    """The PSI of observed counts and expected shares, at least 0.

    Even without a shift, n answers and m reference images give (B - 1)(1/n + 1/m) on average, for B
    bins. This mean is subtracted. So small windows and small references give no false alarms.
    """
    groups = merged(expected, max(LEAST_SHARE, LEAST_IMAGES / reference_images))
    counts = [sum(observed[start:end]) for start, end in groups]
    shares = [sum(expected[start:end]) for start, end in groups]
    answers = sum(counts)
    if len(groups) < 2 or answers <= 0:
        return 0.0
    smooth = answers + PSEUDO_COUNT * len(groups)
    index = 0.0
    for count, share in zip(counts, shares, strict=True):
        seen = (count + PSEUDO_COUNT) / smooth
        index += (seen - share) * math.log(seen / share)
    chance = (len(groups) - 1) * (1 / answers + 1 / reference_images)
    return max(0.0, index - chance)


def merged(expected: Sequence[float], least: float = LEAST_SHARE) -> list[tuple[int, int]]:
    """Ranges of neighbouring bins, (start, end), each with an expected share of `least` or more."""
    groups: list[tuple[int, int]] = []
    start, share = 0, 0.0
    for end, one in enumerate(expected, 1):
        share += one
        if share >= least:
            groups.append((start, end))
            start, share = end, 0.0
    if start < len(expected) and groups:  # the rest belongs to the last group
        groups[-1] = groups[-1][0], len(expected)
    return groups
