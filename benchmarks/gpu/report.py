"""The results of a GPU run as Markdown."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.gpu.targets import verdicts
from service.console.markdown import table

Row = dict[str, Any]
Cells = Callable[[Row], tuple[object, ...]]
_SERVED = (
    "processes", "images", "users", "mode", "images/s", "× none (95%)", "p50 ms", "p99 ms",
    "failed", "refused", "limited by the client", "start s",
)  # fmt: skip


def _served(row: Row) -> tuple[object, ...]:
    return (
        row["processes"], row["images"], row["users"], row["mode"],
        f"{row['images_per_second']:.1f}", _interval(row["of_none"]), _ms(row["p50_ms"]),
        _ms(row["p99_ms"]), row["failed"], row["refused"],
        row["client_limited"] or "no", f"{row['start_s']:.0f}",
    )  # fmt: skip


def _interval(found: Sequence[float] | None) -> str:
    return "" if found is None else f"{found[0]:.2f} ({found[1]:.2f} to {found[2]:.2f})"


def _ms(found: float | None) -> str:
    return "" if found is None else f"{found:.1f}"


PARTS: dict[str, tuple[str, Sequence[str], Cells]] = {
    "checks": (
        "Logits and class maps against the CPU, fp32 without TF32",
        ("precision", "runs", "largest difference, share of the largest output"),
        lambda r: (r["precision"], r["runs"], f"{r['largest_relative_difference']:.1e}"),
    ),
    "answers": (
        "Answers for photos, against fp32 on the CPU",
        ("precision", "mode", "photos", "same number of passes",
         "largest difference of probabilities there", "same class"),
        lambda r: (
            r["precision"], r["mode"], r["photos"], r["same_passes"],
            f"{r['largest_difference']:.1e}", r["same_class"],
        ),
    ),
    "service": ("The service over HTTP, users in a closed loop", _SERVED, _served),
    "score": (
        "quincunx score",
        ("images", "processes that decode (0: threads)", "mode", "scored", "failed",
         "images/s without the start", "images/s", "s"),
        lambda r: (
            r["images_of"], r["decode_processes"], r["mode"], r["images"], r["failed"],
            f"{r['without_start']:.0f}", f"{r['images_per_second']:.0f}",
            f"{r['seconds_with_start']:.1f}",
        ),
    ),
    "sweep": (
        "The engine alone: single crops",
        ("precision", "layout", "CUDA graph", "views", "where", "views/s"),
        lambda r: (
            r["precision"], r["layout"], r["graph"], r["views"], r["where"],
            f"{r['views_per_second']:.0f}",
        ),
    ),
    "intake": (
        "The service on the CPU with a graph that answers at once, users in a closed loop",
        _SERVED,
        _served,
    ),
    "fewer": ("The service over HTTP with fewer processes", _SERVED, _served),
    "passes": (
        "One pass, host memory to host memory",
        ("precision", "output", "side px", "views", "p50 ms", "p99 ms", "views/s"),
        lambda r: (
            r["precision"], r["output"], r["side_px"], r["views"], f"{r['p50_ms']:.3f}",
            f"{r['p99_ms']:.3f}", f"{r['views_per_second']:.0f}",
        ),
    ),
    "modes": (
        "TTA against a single crop, from pixels to probabilities, in one thread",
        ("precision", "mode", "images at once", "mean ms", "p99 ms", "images/s", "× single (95%)"),
        lambda r: (
            r["precision"], r["mode"], r["images"], f"{r['mean_ms']:.2f}", f"{r['p99_ms']:.2f}",
            f"{r['images_per_second']:.0f}",
            _interval(r["ratio"]),
        ),
    ),
}  # fmt: skip
"""Of each part: its title, its columns, and the cells of a row."""


def markdown(results: dict[str, Any]) -> str:
    """The parts that have run, as tables under the command that makes them."""
    machine, measured = results["machine"], results["environment"]
    device = "; ".join(machine["cuda"]["devices"]) or "no GPU"
    sections = [
        f"# {results['package']} on {results['provider']}",
        f"`{results['command']}`",
        f"{measured['taken_at']}, {device}, {measured['cpu']}, {measured['cores']} cores, "
        + ", ".join(f"{name} {version}" for name, version in measured["libraries"].items()),
    ]
    sections += [f"**Disagrees**: {line}" for line in results["disagreements"]]
    sections += [f"Left out: {line}" for line in results["left_out"]]
    if results["provider"] != "cpu":
        rows = [(v.promise, v.shown, "kept" if v.kept else "NOT KEPT") for v in verdicts(results)]
        headings = ("promised for an H100 with 16 cores", "measured", "")
        sections += ["## What was promised", table(headings, rows)]
    for part, (title, columns, cells) in PARTS.items():
        if results.get(part):
            sections += [f"## {title}", table(columns, [cells(row) for row in results[part]])]
    return "\n\n".join(sections) + "\n"
