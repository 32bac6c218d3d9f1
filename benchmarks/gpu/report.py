"""The results of a GPU run as Markdown."""

from collections.abc import Callable, Sequence
from typing import Any

from service.console.markdown import table

Row = dict[str, Any]
Cells = Callable[[Row], tuple[object, ...]]
PARTS: dict[str, tuple[str, Sequence[str], Cells]] = {
    "checks": (
        "Logits and class maps against the CPU, fp32 without TF32",
        ("precision", "largest difference, share of the largest output"),
        lambda r: (r["precision"], f"{r['largest_relative_difference']:.1e}"),
    ),
    "answers": (
        "Answers for photos, against fp32 on the CPU",
        ("precision", "mode", "photos", "largest difference of probabilities", "same class"),
        lambda r: (
            r["precision"], r["mode"], r["photos"], f"{r['largest_difference']:.1e}",
            r["same_class"],
        ),
    ),
    "passes": (
        "One pass, host memory to host memory",
        ("precision", "output", "side px", "views", "p50 ms", "p99 ms", "views/s"),
        lambda r: (
            r["precision"], r["output"], r["side_px"], r["views"], f"{r['p50_ms']:.3f}",
            f"{r['p99_ms']:.3f}", f"{r['views_per_second']:.0f}",
        ),
    ),
    "service": (
        "The service over HTTP, 96 users in a closed loop",
        ("processes", "mode", "images/s", "p50 ms", "failed", "limited by the client"),
        lambda r: (
            r["processes"], r["mode"], f"{r['images_per_second']:.0f}", r["p50_ms"], r["failed"],
            r["client_limited"] or "no",
        ),
    ),
    "score": (
        "quincunx score, start included",
        ("images", "seconds", "images/s"),
        lambda r: (r["images"], f"{r['seconds']:.1f}", f"{r['images_per_second']:.0f}"),
    ),
    "modes": (
        "TTA against a single crop, from pixels to probabilities, in one thread",
        ("precision", "mode", "images at once", "mean ms", "p99 ms", "images/s", "× single (95%)"),
        lambda r: (
            r["precision"], r["mode"], r["images"], f"{r['mean_ms']:.2f}", f"{r['p99_ms']:.2f}",
            f"{r['images_per_second']:.0f}",
            f"{r['ratio'][0]:.2f} ({r['ratio'][1]:.2f} to {r['ratio'][2]:.2f})",
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
    for part, (title, columns, cells) in PARTS.items():
        if results[part]:
            sections += [f"## {title}", table(columns, [cells(row) for row in results[part]])]
    return "\n\n".join(sections) + "\n"
