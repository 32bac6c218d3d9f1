"""``python -m benchmarks.service PACKAGE --images FOLDER [PART]``, where PART is one of
``saturation``, ``intake``, ``steady``, ``overload``, ``soak``, ``malformed``, ``attack`` and ``all``.

What the service itself must show, each against its promise. Writes docs/results/service-*.json and
.md; exits 1 where a promise was not kept. Needs the dev extra (psutil, hypothesis), soak needs plots.
"""  # noqa: E501

import argparse
import signal
import sys
from pathlib import Path

from benchmarks.peers.roster import ROOT
from benchmarks.pictures import add_options, pictures, results
from benchmarks.service import intake, malformed, overload, saturation, soak, steady
from benchmarks.service.attack import attack
from service.bench.report.plots import require_matplotlib
from service.package.manifest import Mode
from service.package.package import ModelPackage

WHAT = ("saturation", "intake", "steady", "overload", "soak", "malformed", "attack")


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
        elif what == "malformed":
            kept &= malformed.measure(*where, precision=given.precision, requests=given.malformed)
        else:
            kept &= attack.measure(*where, precision=given.precision, seconds=given.attack_seconds)
    sys.exit(0 if kept else 1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.service",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("package", type=Path)
    parser.add_argument("what", nargs="?", default="all", choices=[*WHAT, "all"])
    add_options(parser)
    parser.add_argument(
        "--tta", nargs="+",
        help="steady and overload: the modes, by default exact five-crop and the package's own; "
        "the last of them is soaked",
    )  # fmt: skip
    parser.add_argument("--precision", default="auto", help="all but saturation and intake")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one stretch")
    parser.add_argument(
        "--rounds", type=int, default=12, help="of saturation and intake; a third for steady"
    )
    parser.add_argument("--users", type=int, default=16, help="of a closed loop")
    parser.add_argument("--processes", type=int, default=1, help="client processes")
    parser.add_argument(
        "--server-processes", type=int, nargs="+", default=[1, 2], help="intake: each is a case"
    )
    parser.add_argument(
        "--against", type=Path, metavar="CHECKOUT",
        help="intake: another checkout of Quincunx, which takes turns with this one",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, default=12.0, help="intake ends after so many")
    parser.add_argument("--overload-seconds", type=float, default=60.0)
    parser.add_argument("--overloads", type=int, default=3, help="that many, closed loops between")
    parser.add_argument("--deadline-ms", type=int, default=1000, help="overload: of each request")
    parser.add_argument("--requests", type=int, default=200_000, help="of the soak")
    parser.add_argument("--malformed", type=int, default=2000, help="malformed requests")
    parser.add_argument("--attack-seconds", type=float, default=10.0, help="of each attack")
    parser.add_argument("--out", type=Path, help="by default docs/results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
