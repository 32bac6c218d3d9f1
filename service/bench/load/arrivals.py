"""When requests are due. This is decided before the first one is sent.

This is an open loop: users do not wait for each other, so a slow server gets no fewer requests.
Latency counts from the time when a request was due. A client that waits for a stalled server before
it sends the next request would leave out the requests that the stall delays (coordinated omission).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import UsageError
from service.package.manifest import Mode

Arrivals = Literal["poisson", "constant", "closed"]
MAX_REQUESTS = 5_000_000


@dataclass(frozen=True)
class Schedule:
    """Requests in order: when each is due (seconds from the start), its mode, its image."""

    due_s: NDArray[np.float64]
    mode: NDArray[np.int16]
    """Index into the mix."""
    image: NDArray[np.int32]
    """Index into the images."""

    def __len__(self) -> int:
        return len(self.due_s)

    def share(self, worker: int, workers: int) -> "Schedule":
        """Every `workers`-th request: all shares together are the schedule again."""
        return Schedule(
            self.due_s[worker::workers], self.mode[worker::workers], self.image[worker::workers]
        )


def due_times(
    arrivals: Literal["poisson", "constant"],
    per_second: float,
    seconds: float,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Instants in [0, seconds), at random (exponential gaps) or evenly spaced.

    Raises:
        UsageError: a rate or a duration that is not positive, or far too many requests.
    """
    if not (per_second > 0 and seconds > 0):
        raise UsageError(
            f"rate and seconds must be positive, but got {per_second:g} and {seconds:g}"
        )
    expected = per_second * seconds
    if expected > MAX_REQUESTS:
        raise UsageError(f"{expected:.0f} requests in one step; the limit is {MAX_REQUESTS}")
    if arrivals == "constant":
        return np.arange(round(expected)) / per_second
    margin = int(expected + 10 * np.sqrt(expected) + 10)
    times = np.cumsum(generator.exponential(1 / per_second, size=margin))
    return times[times < seconds]


def schedule(
    due_s: NDArray[np.float64], mix: dict[Mode, float], images: int, generator: np.random.Generator
) -> Schedule:
    """Give each instant a mode, drawn from the mix, and the images in turn."""
    shares = list(mix.values())
    return Schedule(
        due_s,
        generator.choice(len(shares), size=len(due_s), p=shares).astype(np.int16),
        (np.arange(len(due_s)) % images).astype(np.int32),
    )
