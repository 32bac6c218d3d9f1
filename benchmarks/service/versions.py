"""This code against another checkout of it, over HTTP: images per second, and a request alone.

Each code serves its own package with its own default precision. Both servers run at once, and their
measurements take turns. Pillow alone takes turns too: it says which ratio no code that decodes with
it can exceed on this machine.
"""

import math
import random
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import httpx

from benchmarks.peers.roster import ROOT
from benchmarks.service.client import Client, client
from benchmarks.service.floor import Decoding
from benchmarks.service.report import Verdict, write
from benchmarks.service.server import Server, serving
from service.bench.load.load import content_type
from service.bench.photos import Photos
from service.bench.report.statistics import Interval, paired_ratio
from service.bench.report.tables import ReportTable
from service.package.manifest import Mode
from service.package.package import ModelPackage

FASTER, ALONE = 5.0, 0.3
"""The promises for photos of a phone: times the images per second, and the share of the p50."""
Code = Literal["this", "other", "Pillow alone"]
SERVED: tuple[Code, ...] = ("this", "other")
WHOSE = {"this": "this", "other": "the other"}


@dataclass(frozen=True)
class Case:
    """Images in one mode, with one user or with many."""

    images: str
    mode: Mode
    many: bool


@dataclass(frozen=True)
class Sample:
    """What one code did with one case in one round."""

    value: float
    """Images per second of many users; the median time of a single user's request in ms."""
    not_answered: int = 0


Samples = dict[Case, dict[Code, list[Sample]]]


def measure(
    package: ModelPackage, groups: dict[str, Photos], out: Path, logs: Path, *,
    against: Path, modes: Sequence[Mode], precision: str, rounds: int, seconds: float, users: int,
) -> bool:  # fmt: skip
    """Measure every case with both codes, once a round, in a new order each round.

    `against` is the folder of the other checkout. It serves the package that lies there at the same
    path as `package` lies here; a package outside this checkout is served by both. `groups` has
    images by their names.
    """
    samples: Samples = {
        Case(name, mode, many): {code: [] for code in (*SERVED, "Pillow alone")}
        for name in groups for mode in modes for many in (False, True)
    }  # fmt: skip
    floors = {name: Decoding.of(photos, package.manifest) for name, photos in groups.items()}
    with ExitStack() as stack:
        servers: dict[Code, Server] = {}
        for code, checkout in zip(SERVED, (ROOT, against.resolve()), strict=True):
            folder = checkout / _inside(package.folder)
            log = logs / f"versions-{code}.log"
            running = serving(folder, precision, log, checkout=checkout)
            servers[code] = stack.enter_context(running)
        opened = [
            f"the gate of adaptive opened for {share:.0%} of {name} in {WHOSE[code]} checkout"
            for name, photos in groups.items()
            for code, server in servers.items()
            if "adaptive" in modes and (share := _opened(server, photos)) is not None
        ]
        clients: dict[tuple[Code, str, Mode], Client] = {
            (code, name, mode): stack.enter_context(client(server.classify_url, photos, mode))
            for code, server in servers.items()
            for name, photos in groups.items() for mode in modes
        }  # fmt: skip
        order = random.Random(0)
        turns: list[tuple[Case, Code]] = [
            (case, code) for case in samples for code in samples[case]
        ]
        for number in range(rounds):
            for case, code in order.sample(turns, len(turns)):
                if code == "Pillow alone":
                    sample = _decoded(floors[case.images], case, seconds)
                else:
                    asking = clients[code, case.images, case.mode]
                    sample = _served(asking, users if case.many else 1, case, seconds)
                samples[case][code].append(sample)
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
    conditions = [
        *(f"{name}: {photos.description}" for name, photos in groups.items()),
        *opened,
        f"{rounds} rounds of {seconds:g} s for each value, in a new order each round; one server "
        "process for each checkout, both with their own package; the client is on the same cores",
        "Pillow alone decodes the same files to the scale that the service uses, with a thread on "
        "each core or in one thread, and does nothing else: no code that decodes with it can "
        "exceed its ratios",
        "values are medians over rounds; ratios are within rounds, 95% by the block bootstrap",
    ]
    tables = [_rates(samples, users), _alone(samples)]
    data = {"samples": [
        {**asdict(case), "code": code, "rounds": [asdict(one) for one in taken]}
        for case, codes in samples.items() for code, taken in codes.items()
    ]}  # fmt: skip
    return write(out, "versions", package, conditions, verdicts(samples), tables, data)


def _inside(folder: Path) -> Path:
    """The path of a package within this checkout; the whole path of another one."""
    folder = folder.resolve()
    return folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder


def _opened(server: Server, photos: Photos) -> float | None:
    """The share of images for which the second pass of `adaptive` ran; None: there is no gate."""
    with httpx.Client(timeout=60) as asking:
        answers = [
            asking.post(
                f"{server.classify_url}?tta=adaptive", content=data,
                headers={"content-type": photos.content_type or content_type(data)},
            ).raise_for_status().json()
            for data in photos.files
        ]  # fmt: skip
    found = [bool(one["gate_open"]) for one in answers if "gate_open" in one]
    return statistics.fmean(found) if found else None


def _served(asking: Client, users: int, case: Case, seconds: float) -> Sample:
    step = asking.closed(users, seconds).step
    p50_ms = step.latency.p50_ms if step.latency else math.inf
    value = step.answered_per_second if case.many else p50_ms
    return Sample(value, step.failed + step.refused)


def _decoded(files: Decoding, case: Case, seconds: float) -> Sample:
    return Sample(files.per_second(seconds) if case.many else files.alone_ms(seconds))


def ratio(samples: Samples, case: Case, code: Code) -> Interval | None:
    """The values of a code relative to those of the other checkout, from the same rounds.

    None: in one of the rounds a code answered nothing.
    """
    values, base = ([one.value for one in samples[case][which]] for which in (code, "other"))
    if not all(0 < value < math.inf for value in (*values, *base)):
        return None
    return paired_ratio(values, base)


def verdicts(samples: Samples) -> list[Verdict]:
    """The promises, each with the ratio of Pillow alone."""
    found: list[Verdict] = []
    for case in samples:
        own, floor = ratio(samples, case, "this"), ratio(samples, case, "Pillow alone")
        what = f"≥ {FASTER:g} × images/s" if case.many else f"a request alone: ≤ {ALONE:g} × p50"
        measured = f"{_text(own)}; Pillow alone {_text(floor)}"
        kept = own is not None and (own.value >= FASTER if case.many else own.value <= ALONE)
        found.append(Verdict(f"{case.images} {case.mode}, {what}", measured, kept))
    return found


def _rates(samples: Samples, users: int) -> ReportTable:
    title = f"Images per second, {users} users in a closed loop"
    return _table(title, {case: codes for case, codes in samples.items() if case.many})


def _alone(samples: Samples) -> ReportTable:
    title = "A request alone: p50 in ms"
    return _table(title, {case: codes for case, codes in samples.items() if not case.many})


def _table(title: str, samples: Samples) -> ReportTable:
    header = (
        "images", "mode", "this", "other", "Pillow alone",
        "this / other [95%]", "Pillow alone / other [95%]", "not answered",
    )  # fmt: skip
    rows = tuple(
        (
            case.images, case.mode,
            *(f"{statistics.median(one.value for one in taken):.1f}" for taken in codes.values()),
            _text(ratio(samples, case, "this")),
            _text(ratio(samples, case, "Pillow alone")),
            str(sum(one.not_answered for taken in codes.values() for one in taken)),
        )
        for case, codes in samples.items()
    )  # fmt: skip
    return ReportTable(title, header, rows)


def _text(interval: Interval | None) -> str:
    if interval is None:
        return "none: a code answered nothing in a round"
    return str(interval)
