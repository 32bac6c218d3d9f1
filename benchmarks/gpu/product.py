"""The service as users run it: in processes of its own, asked over HTTP, with real photos."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu import load
from benchmarks.gpu.engine import Clock
from benchmarks.gpu.processes import serving
from benchmarks.service.null_package import null_package
from service.bench.image_size import ImageSize
from service.bench.photos import Photos, drawn, photos
from service.inference.runtime.providers import Provider
from service.package.manifest import Mode
from service.package.modes import modes
from service.package.package import ModelPackage

Log = Callable[[str], object]
Row = dict[str, Any]
START_SHARE_S = {"cpu": 5.0, "cuda": 25.0}
"""About what the start of a server takes, which is no time for requests."""
ROUNDS = 2
SHORTEST_S, LONGEST_S = 1.0, 6.0
"""The shortest and the longest stretch of requests."""
SMALL = ImageSize(224, 224)
REAL: tuple[Mode, ...] = ("none", "five_crop", "dense", "adaptive")
CHEAP: tuple[Mode, ...] = ("none", "five_crop")


@dataclass(frozen=True)
class Asked:
    """One server, the images that it is sent, and the modes."""

    processes: int | str
    images: dict[str, Photos]
    modes: Sequence[Mode]


def service(
    package: ModelPackage,
    provider: Provider,
    servers: Sequence[Asked],
    folder: Path,
    left_s: Clock,
    log: Log,
) -> Generator[Row]:
    """Images per second over HTTP, for each server, its groups of images, and its modes.

    `log` gets what was left out: the time was over, or the server failed.
    """
    answered = modes(package.manifest, "fp32")
    start_s = START_SHARE_S.get(provider, START_SHARE_S["cuda"])
    for number, asked in enumerate(servers):
        if number and left_s() <= 0:
            log(f"{asked.processes} process(es): the time was over")
            continue
        wanted: list[Mode] = [mode for mode in asked.modes if mode in answered]
        try:
            with serving(package, provider, asked.processes, folder) as server:
                later = servers[number + 1 :]
                stretches = ROUNDS * sum(
                    len(one.images) * sum(mode in answered for mode in one.modes)
                    for one in servers[number:]
                )
                each = (left_s() - len(later) * start_s) / stretches - load.WARM_UP_S
                seconds = min(LONGEST_S, max(SHORTEST_S, each))
                for turn, (name, group) in enumerate(asked.images.items()):
                    if (number or turn) and left_s() <= 0:
                        log(f"{asked.processes} process(es), {name}: the time was over")
                        continue
                    for row in load.compared(
                        server.url, group, wanted, ROUNDS, seconds, server.processes
                    ):
                        yield {
                            "processes": server.shown, "images": name, **row,
                            "start_s": server.start_s,
                        }  # fmt: skip
        except RuntimeError as error:  # the other servers may start
            log(f"{asked.processes} process(es): {error}")


def whole_service(
    package: ModelPackage,
    provider: Provider,
    folder_of_photos: Path,
    processes: Sequence[int | str],
    folder: Path,
    left_s: Clock,
    log: Log,
) -> Generator[Row]:
    """The real network: what TTA costs against a single crop over HTTP."""
    groups = {"photos": photos(folder_of_photos, None, 0)}
    servers = [Asked(number, groups, REAL) for number in processes]
    return service(package, provider, servers, folder, left_s, log)


def intake(
    package: ModelPackage,
    folder_of_photos: Path,
    processes: Sequence[int],
    folder: Path,
    left_s: Clock,
    log: Log,
) -> Generator[Row]:
    """A graph that answers at once, on the CPU: the rate at which the cores prepare images.

    The first number of processes is also asked with small images.
    """
    nothing = null_package(package, folder / "nothing")
    own = {"photos": photos(folder_of_photos, None, 0)}
    servers = [
        Asked(number, own if turn else {**own, f"{SMALL}": drawn(SMALL, 0)}, CHEAP)
        for turn, number in enumerate(processes)
    ]
    return service(nothing, "cpu", servers, folder, left_s, log)
