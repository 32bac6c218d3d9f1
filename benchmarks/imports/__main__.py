"""python -m benchmarks.imports: architectures of timm and torchvision, with random weights.

For each: the kind of graph, the sizes that it takes, how far it agrees with its source, and the
processor time of one photo on one thread. Writes `docs/results/imports.md` and `.json`. Weights do
not matter for these columns. A run of some NAMES adds their rows to the stored table.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import torch

import training.torchvision_compat  # noqa: F401
from benchmarks.arguments import parser_of, run_benchmark
from benchmarks.imports.architectures import ARCHITECTURES
from benchmarks.pictures import RESULTS
from service.bench.environment import environment
from service.bench.image_size import ImageSize
from service.bench.photos import drawn
from service.bench.report.compact import compact_json
from service.errors import QuincunxError
from service.inference.predictor import Predictor
from service.package.manifest import Mode
from service.package.modes import modes
from training.imports.given import Given
from training.imports.modules.opening import open_module
from training.imports.modules.source import ModuleSource
from training.imports.package import write
from training.imports.sources import timm_model, torchvision_model

TIMED: tuple[Mode, ...] = ("none", "five_crop", "dense")
ROUNDS = 5
PHOTO = "500x375"
STORED = RESULTS / "imports.json"


BUILDERS: dict[str, Callable[[str], ModuleSource]] = {
    "timm": timm_model.untrained,
    "torchvision": torchvision_model.untrained,
}


def measure(source: str) -> dict[str, Any]:
    """The row of one architecture."""
    library, _, name = source.partition(":")
    torch.manual_seed(0)
    module = BUILDERS[library](name)
    with tempfile.TemporaryDirectory() as folder:
        try:
            converted, spec = open_module(module, Given())
            done = write(converted, spec, Path(folder) / "package", log=lambda _: None)
        except QuincunxError as error:
            return {"source": source, "refused": str(error)}
        manifest, graph = done.manifest, done.manifest.graph
        fixed = graph.sizes != "dynamic"
        return {
            "source": source,
            "million_parameters": round(manifest.architecture["parameters"] / 1e6, 1),
            "kind": graph.kind,
            "sizes": [list(pair) for pair in graph.sizes] if fixed else "dynamic",
            "stride_px": graph.stride_px if graph.takes_whole_images else None,
            "input": f"{manifest.input.crop_px}/{manifest.input.resize_px}",
            "parity": done.parity.worst,
            "windows": done.parity.windows,
            "exported": next(note for note in converted.notes if note.startswith("exported")),
            "reason": done.converted.reason,
            "ms": _milliseconds(done.folder, [mode for mode in TIMED if mode in modes(manifest)]),
        }


def _milliseconds(package: Path, wanted: list[Mode]) -> dict[str, float]:
    """Processor time of one photo, the least of some rounds in which the modes take turns."""
    predictor = Predictor.from_package(package, provider="cpu", threads=1)
    (photo,) = drawn(ImageSize.parse(PHOTO), seed=0, count=1).files
    best = dict.fromkeys(wanted, float("inf"))
    for _ in range(ROUNDS):
        for mode in wanted:
            start = process_time()
            predictor.classify([photo], mode)
            best[mode] = min(best[mode], 1000 * (process_time() - start))
    return {mode: round(value, 1) for mode, value in best.items()}


def as_markdown(rows: list[dict[str, Any]], machine: dict[str, Any]) -> str:
    """The table, and a line for every refusal."""
    lines = [
        "# Imported architectures",
        "",
        "`python -m benchmarks.imports` makes this table: random weights, the preprocessing of the",
        "library. Parity is the largest difference of logits from the source, as a share of the",
        f"largest logit. Times are processor milliseconds of a {PHOTO.replace('x', '×')} JPEG in",
        "fp32 on one thread, decoding included.",
        "",
        f"Machine: {machine.get('cpu', 'unknown')}.",
        "",
        "| source | parameters | kind | sizes | crop/resize | parity | none | five_crop | dense |",
        "|---|--:|---|---|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        if "refused" in row:
            continue
        sizes = row["sizes"]
        where = (
            (f"any, stride {row['stride_px']}" if row["stride_px"] else "any")
            if sizes == "dynamic"
            else ", ".join(f"{width}×{height} only" for height, width in sizes)
        )
        times = " | ".join(f"{row['ms'][mode]:.1f}" if mode in row["ms"] else "-" for mode in TIMED)
        lines.append(
            f"| {row['source']} | {row['million_parameters']} M | {row['kind']} | {where} | "
            f"{row['input']} | {row['parity']:.0e} | {times} |"
        )
    refused = [row for row in rows if "refused" in row]
    lines += ["", *(f"- {row['source']} is refused: {row['refused']}" for row in refused)]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Measure, and store the table after every row."""
    parser = parser_of("imports", __doc__)
    parser.add_argument(
        "names",
        nargs="*",
        default=ARCHITECTURES,
        metavar="NAME",
        help="such as timm:resnet18; default: all",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=STORED,
        help="the stored table; by default docs/results/imports.json",
    )
    given = parser.parse_args()
    names, table = given.names, given.out.with_suffix(".json")
    for one in names:
        if one.partition(":")[0] not in BUILDERS or ":" not in one:
            parser.error(f"NAME must be timm:ARCHITECTURE or torchvision:ARCHITECTURE, not {one!r}")
    table.parent.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    stored = json.loads(table.read_text())["rows"] if table.exists() else []
    rows = {row["source"]: row for row in stored}
    machine = dict(environment())
    for name in names:
        rows[name] = measure(name)
        print(json.dumps(rows[name]), flush=True)
        ordered = [rows[one] for one in [*ARCHITECTURES, *sorted(rows)] if one in rows]
        ordered = list({row["source"]: row for row in ordered}.values())
        table.write_text(compact_json({"machine": machine, "rows": ordered}))
        table.with_suffix(".md").write_text(as_markdown(ordered, machine))


if __name__ == "__main__":
    run_benchmark(main)
