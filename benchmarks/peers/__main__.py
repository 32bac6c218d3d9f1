"""``python -m benchmarks.peers PACKAGE --images FOLDER``: compare Quincunx with its peers.

Each peer is a short program as its documentation shows it (`systems/`), in its own venv, which the
first run makes. All serve the same ONNX files to the same client: closed loops of 1 and of 8 users,
and an open loop at a share of the rate that the contender itself just reached with 8. All servers
run from the start; idle servers are paused with SIGSTOP. Contenders take turns under each load, in
a new random order each round, those of one precision next to each other. Writes
docs/results/peers.json and .md.
"""

import argparse
import random
import signal
import sys
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.arguments import amount, command_line, count, parser_of, run_benchmark
from benchmarks.peers.report import Contender, Measured, markdown
from benchmarks.peers.roster import PEERS, ROOT
from benchmarks.peers.servers import Server, peer_server, quincunx_server
from benchmarks.pictures import add_options, pictures, results
from benchmarks.results import write_results
from benchmarks.service.client import Client, client
from service.bench.environment import environment, identity
from service.bench.photos import Photos
from service.bench.report.results import LoadStep
from service.package.manifest import Mode, Precision
from service.package.package import ModelPackage

QUINCUNX = "quincunx"
USERS = (1, 8)
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
WARM_UP_S = 3.0
AWAKE_S = 0.3


def main() -> None:
    given = _arguments()
    # SIGTERM must also end the servers, which run in their own sessions.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    package = ModelPackage.load(given.package)
    images = pictures(given)
    wanted = given.only.split(",") if given.only else [QUINCUNX, *(peer.name for peer in PEERS)]
    for peer in PEERS:
        if peer.name in wanted:
            print(f"installing {peer.name}", file=sys.stderr)
            peer.install()
    entered = contenders(wanted, package.manifest.default_mode, given.single_crop)
    measured: list[Measured] = []
    order = random.Random(0)
    with ExitStack() as stack:
        running: dict[Contender, _Running] = {}
        for one in entered:
            print(f"starting {one}", file=sys.stderr)
            running[one] = stack.enter_context(_running(one, package, images, given.logs))
        groups = [[one for one in entered if one.precision == p] for p in PRECISIONS]
        for number in range(given.rounds):
            for group in groups:
                measured += _round(number, order.sample(group, len(group)), running, given)
    _write(results(given), measured, package, images, given)


def contenders(systems: list[str], default_mode: Mode, single_crop: bool) -> list[Contender]:
    """The exact five-crop of every system at both precisions, and the mode that Quincunx serves."""
    modes: tuple[Mode, ...] = ("five_crop", "none") if single_crop else ("five_crop",)
    made = [Contender(name, p, mode) for name in systems for p in PRECISIONS for mode in modes]
    served = Contender(QUINCUNX, "int8", default_mode)
    return [*made, *([served] if QUINCUNX in systems and served not in made else [])]


def _round(
    number: int,
    group: list[Contender],
    running: "dict[Contender, _Running]",
    given: argparse.Namespace,
) -> list[Measured]:
    """Measure all contenders of a group under one load, then under the next."""
    rows: list[Measured] = []
    answered: dict[Contender, float] = {}
    for users in USERS:
        for one in group:
            with running[one].turn() as asking:
                step = asking.closed(users, given.seconds).step
            answered[one] = step.answered_per_second
            rows.append(_row(one, number, f"{users} user" + "s" * (users > 1), step))
    for one in group:
        # A contender that stalled and answered nothing still gets a request or two.
        rate = max(given.share * answered[one], 1 / given.seconds)
        with running[one].turn() as asking:
            step = asking.opened(rate, given.seconds).step
        rows.append(_row(one, number, f"{given.share:.0%} load", step))
    for one in group:
        print(f"round {number + 1}: {one}: {answered[one]:.1f}/s", file=sys.stderr)
    return rows


@dataclass(frozen=True)
class _Running:
    """A contender's server, which is paused, and a client for it."""

    server: Server
    client: Client

    @contextmanager
    def turn(self) -> Generator[Client]:
        """Resume the server inside this context."""
        self.server.resume()
        time.sleep(AWAKE_S)  # it may first close connections that timed out during the pause
        try:
            yield self.client
        finally:
            self.server.pause()


@contextmanager
def _running(
    one: Contender, package: ModelPackage, images: Photos, logs: Path
) -> Generator[_Running]:
    """Start a contender, and warm it up."""
    serving, bodies, headers = _serving(one, package, images, logs)
    with serving as server, client(server.url, bodies, one.mode, headers=headers) as asking:
        running = _Running(server, asking)
        try:
            with running.turn():
                asking.closed(max(USERS), WARM_UP_S)
            yield running
        finally:
            server.resume()  # a paused server cannot handle SIGTERM


def _serving(
    one: Contender, package: ModelPackage, images: Photos, logs: Path
) -> tuple[AbstractContextManager[Server], Photos, dict[str, str]]:
    log = logs / f"{one.system}-{one.precision}-{one.mode}.log"
    if one.system == QUINCUNX:
        return quincunx_server(package, one.precision, log), images, {}
    (peer,) = [peer for peer in PEERS if peer.name == one.system]
    server = peer_server(peer, package, one.precision, one.mode, images, log)
    return server, peer.wrap(images), dict(peer.headers)


def _row(one: Contender, number: int, load: str, step: LoadStep) -> Measured:
    latency = step.latency
    return Measured(
        contender=one,
        round=number,
        load=load,
        offered_per_second=step.offered_per_second,
        answered_per_second=step.answered_per_second,
        p50_ms=latency.p50_ms if latency else None,
        latencies_ms=tuple(round(ms, 1) for own in step.latencies_ms.values() for ms in own),
        not_answered=step.failed + step.refused,
        client_limited=step.client_limited,
    )


def _write(
    folder: Path,
    measured: list[Measured],
    package: ModelPackage,
    images: Photos,
    given: argparse.Namespace,
) -> None:
    everything = {
        "command": command_line("peers"),
        "environment": environment().model_dump(),
        "package": identity(package).model_dump(),
        "images": images.description,
        "rounds": given.rounds,
        "seconds": given.seconds,
        "measured": [asdict(item) for item in measured],
    }
    write_results(folder / "peers", everything, markdown(everything, measured, QUINCUNX))


def _arguments() -> argparse.Namespace:
    parser = parser_of("peers", __doc__)
    parser.add_argument("package", type=Path, help="the folder of a model package")
    add_options(parser)
    systems = [QUINCUNX, *(peer.name for peer in PEERS)]
    parser.add_argument(
        "--only", help=f"measure only these, with commas between: {', '.join(systems)}"
    )
    parser.add_argument("--single-crop", action="store_true", help="measure the single crop too")
    parser.add_argument("--rounds", type=count, default=8, help="rounds of each load")
    parser.add_argument("--seconds", type=amount, default=3.0, help="time of a load in a round")
    parser.add_argument(
        "--share",
        type=amount,
        default=0.7,
        help="load of the open loop, as a share of the capacity",
    )
    parser.add_argument("--out", type=Path, help="by default docs/results")
    parser.add_argument(
        "--logs", type=Path, default=ROOT / "runs" / "peers",
        help="folder of the logs; by default runs/peers",
    )  # fmt: skip
    given = parser.parse_args()
    unknown = set(given.only.split(",") if given.only else ()).difference(systems)
    if unknown:
        parser.error(f"--only {min(unknown)}: there are {', '.join(systems)}")
    return given


if __name__ == "__main__":
    run_benchmark(main)
