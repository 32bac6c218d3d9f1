"""``python -m benchmarks.gpu PACKAGE --photos FOLDER --minutes 6``: checks and figures of a GPU.

First come the checks: logits and class maps against the CPU, then the answers for real photos in
every mode. A failed check ends the run with exit code 1, after its figures are written. Then come
the service with the costs of TTA, the scorer, the engine in every layout, the intake (the service
with a network that does no work), passes, and modes in one thread. The time is divided among them.
Results are written after each part, so a run that is cut off keeps what it has.
``--provider cpu`` runs all of it without a GPU, which tests the script itself. It needs the
checkout and its packages, no torch.
"""

import argparse
import platform
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from benchmarks.arguments import amount, count, folder_path, parser_of, run_benchmark
from benchmarks.gpu import engine, product, sweep
from benchmarks.gpu.answers import answers, photos_in
from benchmarks.gpu.report import markdown
from service.bench.environment import environment
from service.bench.report.compact import compact_json
from service.doctor import diagnose
from service.inference.runtime.providers import Provider
from service.package.manifest import Precision
from service.package.package import ModelPackage

ROUNDS = 50
SHARES = {
    "checks": 1,
    "answers": 3,
    "service": 9,
    "score": 4,
    "sweep": 3,
    "intake": 4,
    "passes": 2,
    "modes": 2,
}
"""Of the time, for each part, in their order."""


def main() -> None:
    parser = parser_of("gpu", __doc__)
    parser.add_argument("package", type=Path, help="the folder of a model package")
    parser.add_argument("--photos", type=folder_path, required=True, help="a folder of photos")
    parser.add_argument("--minutes", type=amount, default=6.0, help="time of the whole run")
    parser.add_argument(
        "--provider", choices=get_args(Provider), default="cuda", help="cpu tests the script itself"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("docs/results/gpu"), help="folder of the results"
    )
    parser.add_argument("--rounds", type=count, default=ROUNDS, help="most samples of each figure")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = Run(given, Path(folder)).all_parts()
    print(markdown(results))
    if results["disagreements"]:
        raise SystemExit("; ".join(results["disagreements"]))


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
        self._processes = int(found.workers.chosen) if gpu else 2
        device = found.cuda.devices[0] if gpu and found.cuda.devices else found.cpu
        name = re.sub(r"[^a-z0-9]+", "-", f"{device} {platform.machine()}".lower()).strip("-")
        self._stem = given.out / name
        self._results: dict[str, Any] = {
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

    def all_parts(self) -> dict[str, Any]:
        """Run the parts in order."""
        given, package, precisions = self._given, self._package, self._precisions
        provider: Provider = given.provider
        each: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "checks": lambda: [
                engine.check(package, p, provider, self._left_s) for p in precisions
            ],
            "answers": lambda: answers(package, precisions, provider, self._photos, self._left_s),
            "service": lambda: product.whole_service(
                package,
                provider,
                given.photos,
                self._scratch,
                self._left_s,
                self._missed("service"),
            ),
            "score": lambda: product.score(
                package, provider, self._photos, self._scratch, self._left_s, self._missed("score")
            ),
            "sweep": lambda: sweep.sweep(package, provider, self._left_s),
            "intake": lambda: product.intake(
                package,
                given.photos,
                self._processes,
                self._scratch,
                self._left_s,
                self._missed("intake"),
            ),
            "passes": lambda: [
                row
                for p in precisions
                for row in engine.passes(package, p, provider, given.rounds, self._left_s)
            ],
            "modes": lambda: [
                row
                for p in precisions
                for row in engine.modes(package, p, provider, given.rounds, self._left_s)
            ],
        }
        shares = dict(SHARES)
        for part, run in each.items():
            left_s = self._until - time.monotonic()
            if left_s <= 0:
                self._missed(part)("the time was over")
                continue
            self._part_until = time.monotonic() + left_s * shares[part] / sum(shares.values())
            del shares[part]
            self._one_part(part, run)
        self._write()
        return self._results

    def _missed(self, part: str) -> Callable[[str], None]:
        """Note what was not measured, and why."""
        return lambda why: self._results["left_out"].append(f"{part}: {why}")

    def _one_part(self, part: str, run: Callable[[], list[dict[str, Any]]]) -> None:
        """A part that fails is noted, and the others still run."""
        try:
            self._results[part] = run()
        except engine.Disagreement as error:
            self._results["disagreements"].append(str(error))
        except Exception as error:
            self._missed(part)(f"{type(error).__name__}: {error}")
        for row in self._results[part] if part == "answers" else ():
            if not row["agrees"]:
                self._results["disagreements"].append(
                    f"{row['precision']} {row['mode']}: probabilities differ by "
                    f"{row['largest_difference']:.1e}"
                )
        self._write()

    def _left_s(self) -> float:
        return self._part_until - time.monotonic()

    def _write(self) -> None:
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        text = compact_json(self._results)
        self._stem.with_suffix(".json").write_text(text, encoding="utf-8")
        self._stem.with_suffix(".md").write_text(markdown(self._results), encoding="utf-8")


if __name__ == "__main__":
    run_benchmark(main)
