"""What `adaptive` may cost, and what it may lose."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """The mean cost of `adaptive`, and how much worse a gate may be that opens less often.

    `top1` and `nll` are compared with the upper 95% bound of the paired difference: see
    `gates.no_worse`.
    """

    top1: float = 0.002
    nll: float = 0.002
    cost: float = 1.15
    """Largest mean cost of a gate on the calibration images, in single crops.

    The cost counts pixels. Time is about 0.02 crops more, because the gate is computed too, and
    other images may be harder: the default keeps the shipped package within 1.2 times the time of
    a single crop.
    """
