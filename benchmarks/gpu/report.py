"""The results of a GPU run as Markdown."""

from typing import Any


def markdown(results: dict[str, Any], command: str) -> str:
    """Checks, passes and modes as tables under the command that makes them."""
    machine = results["environment"]
    lines = [
        f"# {results['package']} on {results['provider']}",
        "",
        f"`{command}`",
        "",
        f"{machine['taken_at']}, {machine['cpu']}, {machine['cores']} cores, "
        + ", ".join(f"{name} {version}" for name, version in machine["libraries"].items()),
        "",
        "## Agreement with the CPU",
        "",
        "| precision | largest difference, share of the largest output |",
        "|---|--:|",
        *(
            f"| {c['precision']} | {c['largest_relative_difference']:.1e} |"
            for c in results["checks"]
        ),
        "",
        "## One pass, host memory to host memory",
        "",
        "| precision | output | side px | views | p50 ms | p99 ms | views/s |",
        "|---|---|--:|--:|--:|--:|--:|",
        *(
            f"| {r['precision']} | {r['output']} | {r['side_px']} | {r['views']} "
            f"| {r['p50_ms']:.3f} | {r['p99_ms']:.3f} | {r['views_per_second']:.0f} |"
            for r in results["passes"]
        ),
        "",
        "## TTA against a single crop, from pixels to probabilities",
        "",
        "| precision | mode | images at once | mean ms | p99 ms | images/s | × single (95%) |",
        "|---|---|--:|--:|--:|--:|--:|",
        *(
            f"| {r['precision']} | {r['mode']} | {r['images']} | {r['mean_ms']:.2f} "
            f"| {r['p99_ms']:.2f} | {r['images_per_second']:.0f} "
            f"| {r['ratio'][0]:.2f} ({r['ratio'][1]:.2f} to {r['ratio'][2]:.2f}) |"
            for r in results["modes"]
        ),
    ]
    return "\n".join(lines) + "\n"
