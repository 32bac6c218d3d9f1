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
    cost: float = 1.2
    """Mean cost of the dearest gate, in single crops."""
