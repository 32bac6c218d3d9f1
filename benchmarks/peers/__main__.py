"""``python -m benchmarks.peers PACKAGE --images FOLDER``: the table of Quincunx beside its peers.

Each peer is a short program as its documentation would write it (`systems/`), in a venv of its own,
made on the first run. All serve the same ONNX file to the same client: closed loops of 1 and 8
users, and an open loop at a fixed rate. Contenders take turns in an order drawn anew each round;
the table gives the median over the rounds, and the spread. Writes docs/results/peers.json and .md.
"""

import argparse
import json
import random
import shlex
import signal
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.peers.roster import PEERS, ROOT
from benchmarks.peers.servers import peer_server, quincunx_server
from service.bench.environment import environment, identity
from service.bench.load import Plan, bench_load
from service.bench.photos import Photos, photos
from service.bench.results import LoadStep
from service.bench.tables import Table, ms
from service.inference.manifest import Mode, Precision
from service.inference.package import ModelPackage

QUINCUNX = "quincunx"
QUINCUNX_MODES: tuple[Mode, ...] = ("none", "five_crop", "dense")
PEER_MODES: tuple[Mode, ...] = ("none", "five_crop")


@dataclass(frozen=True)
class Measured:
    """One contender, one mode, one kind of load, one round."""

    system: str
    mode: Mode
    load: str
    answered_per_second: float
    p50_ms: float | None
    p99_ms: float | None
    failed: int
    client_limited: str | None


def main() -> None:
    given = _arguments()
    # A polite end must still end the servers, which live in sessions of their own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    package = ModelPackage.load(given.package)
    pictures = photos(given.images, "500x375", seed=0)
    logs = Path(given.logs)
    wanted = given.only.split(",") if given.only else [QUINCUNX, *(peer.name for peer in PEERS)]
    for peer in PEERS:
        if peer.name in wanted:
            print(f"installing {peer.name}", file=sys.stderr)
            peer.install()
    contenders: list[tuple[str, Mode]] = [
        (name, mode)
        for name in wanted
        for mode in (QUINCUNX_MODES if name == QUINCUNX else PEER_MODES)
    ]
    measured: list[Measured] = []
    order = random.Random(0)
    for _ in range(given.rounds):
        for name, mode in order.sample(contenders, len(contenders)):
            print(f"{name} {mode}", file=sys.stderr)
            measured += _measure(name, mode, package, given.precision, pictures, given, logs)
    _write(Path(given.out), measured, package, pictures, given)


def _measure(
    name: str,
    mode: Mode,
    package: ModelPackage,
    precision: Precision,
    pictures: Photos,
    given: argparse.Namespace,
    logs: Path,
) -> list[Measured]:
    log = logs / f"{name}-{mode}.log"
    if name == QUINCUNX:
        server, bodies, headers = (
            quincunx_server(package, precision, pictures, log), pictures, {},
        )  # fmt: skip
    else:
        (peer,) = [peer for peer in PEERS if peer.name == name]
        server = peer_server(peer, package, precision, mode, pictures, log)
        bodies, headers = peer.wrap(pictures), dict(peer.headers)
    common = {"mix": {mode: 1.0}, "seconds": given.seconds, "headers": headers}
    with server as url:
        closed = bench_load(url, Plan("closed", users=(1, 8), **common), bodies)
        opened = bench_load(url, Plan(rates=(given.rate,), **common), bodies)
    return [_row(name, mode, step) for step in (*closed.steps, *opened.steps)]


def _row(name: str, mode: Mode, step: LoadStep) -> Measured:
    latency = step.latency
    return Measured(
        name,
        mode,
        step.name,
        step.answered_per_second,
        latency.p50_ms if latency else None,
        latency.p99_ms if latency else None,
        step.failed + step.refused,
        step.client_limited,
    )


def table(measured: Sequence[Measured]) -> Table:
    """One row per contender and mode; medians over the rounds, spread in brackets."""
    loads = list(dict.fromkeys(item.load for item in measured))
    keys = sorted({(item.mode, item.system) for item in measured}, key=lambda key: key[::-1])
    rows: list[tuple[str, ...]] = []
    for mode, system in keys:
        cells = [system, mode]
        for load in loads:
            mine = [m for m in measured if (m.mode, m.system, m.load) == (mode, system, load)]
            cells += [
                _spread([item.answered_per_second for item in mine]),
                _spread([item.p50_ms for item in mine]),
                _spread([item.p99_ms for item in mine]),
            ]
        cells.append(str(sum(m.failed for m in measured if (m.mode, m.system) == (mode, system))))
        rows.append(tuple(cells))
    columns = [f"{load}: {what}" for load in loads for what in ("per s", "p50 ms", "p99 ms")]
    return Table(
        "Quincunx and its peers", ("system", "mode", *columns, "not answered"), tuple(rows)
    )


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    middle = ms(statistics.median(known))
    return middle if len(known) == 1 else f"{middle} [{ms(min(known))}, {ms(max(known))}]"


def _write(
    folder: Path,
    measured: Sequence[Measured],
    package: ModelPackage,
    pictures: Photos,
    given: argparse.Namespace,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    made = environment()
    command = shlex.join(["python", "-m", "benchmarks.peers", *sys.argv[1:]])
    everything = {
        "command": command,
        "environment": made.model_dump(),
        "package": identity(package).model_dump(),
        "images": pictures.description,
        "measured": [asdict(item) for item in measured],
    }
    (folder / "peers.json").write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# Quincunx and its peers",
        f"`{command}`",
        f"- {made.cpu}, {made.cores} cores, {made.taken_at}",
        f"- {package.manifest.name}, {given.precision}; images: {pictures.description}",
        f"- {given.rounds} rounds of {given.seconds:g} s; median [least, most] over the rounds; "
        "client and server share the machine",
        table(measured).markdown(),
    ]
    text = "\n".join(lines[:5]) + "\n\n" + lines[5] + "\n"
    (folder / "peers.md").write_text(text.replace("\n`", "\n\n`", 1).replace("`\n- ", "`\n\n- ", 1))
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("package", type=Path)
    parser.add_argument("--images", type=Path, help="photos; without it JPEGs are drawn")
    parser.add_argument("--precision", choices=["fp32", "int8"], default="fp32")
    parser.add_argument("--only", help=f"of {QUINCUNX}, {', '.join(p.name for p in PEERS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=5.0, help="of the open loop, per second")
    parser.add_argument("--out", default=str(ROOT / "docs" / "results"))
    parser.add_argument("--logs", default=str(ROOT / "runs" / "peers"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
