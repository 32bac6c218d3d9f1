"""``python -m benchmarks.service PACKAGE --images FOLDER [PART]``, where PART is one of
``saturation``, ``intake``, ``steady``, ``overload``, ``soak``, ``malformed``, ``attack``, ``versions``
and ``all``, which is every part but ``versions``.

What the service itself must show, each against its promise. Writes docs/results/service-*.json and
.md; exits 1 where a promise was not kept. Needs the dev extra (psutil, hypothesis), soak needs plots.
"""  # noqa: E501

import argparse
import signal
import sys
from pathlib import Path

from benchmarks.arguments import (
    MODES,
    PRECISIONS,
    amount,
    checkout_path,
    count,
    parser_of,
    run_benchmark,
)
from benchmarks.peers.roster import ROOT
from benchmarks.pictures import add_options, pictures, results
from benchmarks.service import intake, malformed, overload, saturation, soak, steady, versions
from benchmarks.service.attack import attack
from service.bench.image_size import STANDARD
from service.bench.photos import Photos, drawn
from service.bench.report.plots import require_matplotlib
from service.package.manifest import Mode
from service.package.package import ModelPackage

WHAT = ("saturation", "intake", "steady", "overload", "soak", "malformed", "attack")
"""The parts of `all`."""


def main() -> None:
    given = _arguments()
    # A polite end must still end the servers, which live in sessions of their own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    package = ModelPackage.load(given.package)
    default = package.manifest.default_mode
    modes: list[Mode] = given.tta or list(dict.fromkeys(("five_crop", default)))
    where = (package, pictures(given), results(given), ROOT / "runs" / "service")
    kept = True
    if given.what == "all" or given.what == "soak":
        require_matplotlib()
    for what in WHAT if given.what == "all" else (given.what,):
        print(f"== {what}", file=sys.stderr)
        if what == "saturation":
            kept &= saturation.measure(
                *where, rounds=given.rounds, seconds=given.seconds, users=given.users,
                processes=given.processes,
            )  # fmt: skip
        elif what == "intake":
            _, images, *places = where
            named = given.image_size or (given.images and given.images.name)
            own = {str(named): images} if named else {}
            kept &= intake.measure(
                package, own, *places, workers=sorted(set(given.server_processes)),
                rounds=given.rounds, seconds=given.seconds, minutes=given.minutes,
                users=given.users, processes=given.processes, against=given.against,
            )  # fmt: skip
        elif what == "steady":
            kept &= steady.measure(
                *where, modes=modes, precision=given.precision, rounds=max(1, given.rounds // 3),
                seconds=given.seconds * 3, users=given.users, processes=given.processes,
            )  # fmt: skip
        elif what == "overload":
            kept &= overload.measure(
                *where, modes=modes, precision=given.precision, seconds=given.overload_seconds,
                rounds=given.overloads, capacity_seconds=given.seconds * 2,
                deadline_ms=given.deadline_ms,
                users=given.users, processes=given.processes,
            )  # fmt: skip
        elif what == "soak":
            kept &= soak.measure(
                *where, mode=modes[-1], precision=given.precision, requests=given.requests,
                users=given.users, processes=given.processes,
            )  # fmt: skip
        elif what == "versions":
            _, images, *places = where
            kept &= versions.measure(
                package, _both_kinds(given, images), *places, against=given.against,
                modes=given.tta or [default], precision=given.precision, rounds=given.rounds,
                seconds=given.seconds, users=given.users,
            )  # fmt: skip
        elif what == "malformed":
            kept &= malformed.measure(*where, precision=given.precision, requests=given.malformed)
        else:
            kept &= attack.measure(*where, precision=given.precision, seconds=given.attack_seconds)
    sys.exit(0 if kept else 1)


def _both_kinds(given: argparse.Namespace, images: Photos) -> dict[str, Photos]:
    """Drawn images and, with --images, those of the folder: `adaptive` treats them differently."""
    if not given.images:
        return {"drawn": images}
    return {"drawn": drawn(given.image_size or STANDARD, seed=0), given.images.name: images}


def _arguments() -> argparse.Namespace:
    parser = parser_of("service", __doc__)
    parser.add_argument("package", type=Path, help="the folder of a model package")
    parser.add_argument(
        "what", nargs="?", default="all", choices=[*WHAT, "versions", "all"],
        help="the part",
    )  # fmt: skip
    add_options(parser)
    parser.add_argument(
        "--tta", nargs="+", choices=MODES,
        help="steady, overload: the modes, by default five_crop and the package's default mode; "
        "soak: the last of them; versions: by default the package's default mode",
    )  # fmt: skip
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of all parts except saturation and intake",
    )
    parser.add_argument("--seconds", type=amount, default=5.0, help="length of one measurement")
    parser.add_argument(
        "--rounds",
        type=count,
        default=12,
        help="rounds of saturation, intake and versions; steady has a third of them",
    )
    parser.add_argument("--users", type=count, default=16, help="users of a closed loop")
    parser.add_argument("--processes", type=count, default=1, help="client processes")
    parser.add_argument(
        "--server-processes",
        type=count,
        nargs="+",
        default=[1, 2],
        help="intake: numbers of server processes, in turn",
    )
    parser.add_argument(
        "--against", type=checkout_path, metavar="CHECKOUT",
        help="intake, versions: folder of another checkout of Quincunx, which takes turns with "
        "this one",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=amount, default=12.0, help="intake: time of the whole run"
    )
    parser.add_argument(
        "--overload-seconds", type=amount, default=60.0, help="length of one overload"
    )
    parser.add_argument(
        "--overloads",
        type=count,
        default=3,
        help="how many; closed loops run before and after each",
    )
    parser.add_argument(
        "--deadline-ms", type=count, default=1000, help="overload: deadline of each request"
    )
    parser.add_argument("--requests", type=count, default=200_000, help="soak: how many requests")
    parser.add_argument("--malformed", type=count, default=2000, help="how many malformed requests")
    parser.add_argument("--attack-seconds", type=amount, default=10.0, help="length of each attack")
    parser.add_argument("--out", type=Path, help="by default docs/results")
    given = parser.parse_args()
    if given.what == "versions" and given.against is None:
        parser.error("versions needs --against CHECKOUT")
    return given


if __name__ == "__main__":
    run_benchmark(main)
