"""``python -m benchmarks.gpu PACKAGE --photos FOLDER --minutes 7``: checks and figures of a GPU.

First come the checks: logits and class maps against the CPU, then the answers for real photos in
every mode. A failed check ends the run with exit code 1, after all parts. Then come the service
over HTTP with the processes that ``auto`` chooses and with half of them, the scorer, the intake
(the service with a graph that answers at once), the engine in every layout, the service with few
processes, passes, and modes in one thread. The report begins with the promises and whether each is
kept.

Each part has a share of the time, and what it leaves goes to the later parts. A part that hangs is
ended. Every row is written when it is measured. So a run that fails, is ended by SIGTERM or killed
keeps what it has. ``--provider cpu`` runs all of it without a GPU, which tests the script itself.
It needs the checkout and its packages, no torch; Quincunx need not be installed.
"""

import argparse
import platform
import re
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, get_args

from benchmarks.arguments import amount, count, folder_path, parser_of, run_benchmark
from benchmarks.gpu import engine, product, scoring, sweep
from benchmarks.gpu.answers import answers, photos_in
from benchmarks.gpu.deadline import PartOver, RunOver, at_most, ended_by_sigterm
from benchmarks.gpu.report import markdown
from service.bench.environment import environment
from service.bench.report.compact import compact_json
from service.doctor import diagnose
from service.inference.runtime.providers import Provider
from service.package.manifest import Precision
from service.package.package import ModelPackage
from service.replacing import replacing_file

ROUNDS = 50
SHARES = {
    "checks": 2,
    "answers": 5,
    "service": 13,
    "score": 8,
    "intake": 8,
    "sweep": 4,
    "fewer": 6,
    "passes": 2,
    "modes": 2,
}
"""Of the time, for each part, in their order. What was promised comes first."""
LATE_S, SPARE_S = 45.0, 10.0
"""A part is ended when it takes `LATE_S` longer than its time (a server may need 30 s to start), or
`SPARE_S` longer than the whole run may take."""
FEW = 4
Row = dict[str, Any]


def main() -> None:
    parser = parser_of("gpu", __doc__)
    parser.add_argument("package", type=Path, help="the folder of a model package")
    parser.add_argument("--photos", type=folder_path, required=True, help="a folder of photos")
    parser.add_argument("--minutes", type=amount, default=7.0, help="time of the whole run")
    parser.add_argument(
        "--provider", choices=get_args(Provider), default="cuda", help="cpu tests the script itself"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results/gpu"), help="folder of the results"
    )
    parser.add_argument("--rounds", type=count, default=ROUNDS, help="most samples of each figure")
    given = parser.parse_args()
    with ended_by_sigterm(), tempfile.TemporaryDirectory() as folder:
        run = Run(given, Path(folder))
        try:
            run.all_parts()
        except RunOver as error:
            why = f"the run ended early ({error}); its results are in {run.report}"
            raise SystemExit(why) from None
        finally:
            run.write()
    print(markdown(run.results))
    if run.results["disagreements"]:
        raise SystemExit("; ".join(run.results["disagreements"]))


class Run:
    """One run: its parts, their time, and the files of results."""

    def __init__(self, given: argparse.Namespace, scratch: Path) -> None:
        self._given, self._scratch = given, scratch
        self._package = ModelPackage.load(given.package)
        self._photos = photos_in(given.photos)
        self._until = time.monotonic() + given.minutes * 60
        self._part_until = self._until
        gpu = given.provider != "cpu"
        wanted: tuple[Precision, ...] = ("fp32", "fp16") if gpu else ("fp32", "fp16", "int8")
        self._precisions: list[Precision] = [p for p in wanted if self._package.offers(p)]
        found = diagnose()
        self._cores = found.cores
        self._auto = int(found.workers.chosen) if gpu else 2
        device = found.cuda.devices[0] if gpu and found.cuda.devices else found.cpu
        name = re.sub(r"[^a-z0-9]+", "-", f"{device} {platform.machine()}".lower()).strip("-")
        self._stem = given.out / name
        self.results: dict[str, Any] = {
            "command": f"python -m benchmarks.gpu {given.package.name} --photos FOLDER "
            f"--minutes {given.minutes:g} --provider {given.provider}",
            "environment": environment().model_dump(),
            "machine": found.as_json(),
            "package": f"{self._package.manifest.name}@{self._package.manifest.version}",
            "provider": given.provider,
            "disagreements": [],
            "left_out": [],
            **{part: [] for part in SHARES},
        }

    def all_parts(self) -> None:
        """Run the parts in order.

        Raises:
            RunOver: the run was told to end.
        """
        given, package, precisions = self._given, self._package, self._precisions
        provider: Provider = given.provider
        scratch, left_s = self._scratch, self._left_s
        served = partial(
            product.whole_service, package, provider, given.photos, folder=scratch, left_s=left_s
        )
        each: dict[str, Callable[[], Generator[Row]]] = {
            "checks": self._checks,
            "answers": lambda: (
                row for row in answers(package, precisions, provider, self._photos, left_s)
            ),
            "service": lambda: served(
                processes=("auto", max(1, self._auto // 2)), log=self._missed("service")
            ),
            "score": lambda: scoring.score(
                package, provider, self._photos, scratch, left_s, self._missed("score")
            ),
            "intake": lambda: product.intake(
                package, given.photos, self._processes_of_intake(), scratch, left_s,
                self._missed("intake"),
            ),
            "sweep": lambda: sweep.sweep(package, provider, left_s),
            "fewer": lambda: served(processes=self._fewer(), log=self._missed("fewer")),
            "passes": lambda: (
                row
                for p in precisions
                for row in engine.passes(package, p, provider, given.rounds, left_s)
            ),
            "modes": lambda: (
                row
                for p in precisions
                for row in engine.modes(package, p, provider, given.rounds, left_s)
            ),
        }  # fmt: skip
        shares = dict(SHARES)
        for part, rows in each.items():
            left = self._until - time.monotonic()
            if left <= 0:
                self._missed(part)("the time was over")
                continue
            seconds = left * shares[part] / sum(shares.values())
            del shares[part]
            self._part_until = time.monotonic() + seconds
            self._one_part(part, rows, seconds)
            self.write()

    def _checks(self) -> Generator[Row]:
        for precision in self._precisions:
            try:
                yield engine.check(self._package, precision, self._given.provider, self._left_s)
            except engine.Disagreement as error:
                self.results["disagreements"].append(str(error))

    def _processes_of_intake(self) -> list[int]:
        """One process for each core, and for every two, and `FEW`: which feeds a GPU best?"""
        return sorted({self._cores, max(1, self._cores // 2), min(FEW, self._cores)}, reverse=True)

    def _fewer(self) -> list[int]:
        """Numbers of processes that the part `service` does not measure."""
        measured = {self._auto, max(1, self._auto // 2)}
        return [number for number in (FEW, 1) if number not in measured] or [1]

    @property
    def report(self) -> Path:
        return self._stem.with_suffix(".md")

    def _missed(self, part: str) -> Callable[[str], None]:
        """Note what was not measured, and why."""
        return lambda why: self.results["left_out"].append(f"{part}: {why}")

    def _one_part(self, part: str, rows: Callable[[], Generator[Row]], seconds: float) -> None:
        """Keep and write every row. A part that fails is noted, and the others still run."""
        late_s = min(LATE_S, max(self._until - time.monotonic() - seconds, 0.0) + SPARE_S)
        try:
            with at_most(seconds + late_s), closing(rows()) as found:
                for row in found:
                    self.results[part].append(row)
                    if part == "answers" and not row["agrees"]:
                        self.results["disagreements"].append(
                            f"{row['precision']} {row['mode']}: probabilities differ by "
                            f"{row['largest_difference']:.1e}"
                        )
                    self.write()
        except RunOver:
            self._missed(part)("the run was told to end")
            raise
        except PartOver as error:
            self._missed(part)(str(error))
        except (Exception, SystemExit) as error:
            self._missed(part)(f"{type(error).__name__}: {error}")

    def _left_s(self) -> float:
        return self._part_until - time.monotonic()

    def write(self) -> None:
        """Write what there is, each file in one step."""
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        texts = {".json": compact_json(self.results), ".md": markdown(self.results)}
        for suffix, text in texts.items():
            with replacing_file(self._stem.with_suffix(suffix)) as stream:
                stream.write(text.encode())


if __name__ == "__main__":
    run_benchmark(main)
