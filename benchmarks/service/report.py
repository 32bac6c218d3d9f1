"""The files of a measurement: JSON with everything, Markdown with the verdicts first."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.arguments import command_line
from benchmarks.results import write_results
from service.bench.environment import environment, identity
from service.bench.report.tables import ReportTable
from service.package.package import ModelPackage


@dataclass(frozen=True)
class Verdict:
    """One promise, and the result."""

    promise: str
    measured: str
    kept: bool


def write(
    out: Path,
    name: str,
    package: ModelPackage,
    conditions: Sequence[str],
    verdicts: Sequence[Verdict],
    tables: Sequence[ReportTable],
    data: dict[str, Any],
    plots: dict[str, str] | None = None,
) -> bool:
    """Write service-NAME.json, .md and the plots into `out`. True if every promise was kept."""
    out.mkdir(parents=True, exist_ok=True)
    made = environment()
    command = command_line("service")
    everything = {
        "command": command,
        "environment": made.model_dump(),
        "package": identity(package).model_dump(),
        "conditions": list(conditions),
        "verdicts": [asdict(verdict) for verdict in verdicts],
        **data,
    }
    promises = ReportTable(
        "Promises",
        ("promise", "measured", ""),
        tuple((v.promise, v.measured, "kept" if v.kept else "NOT KEPT") for v in verdicts),
    )
    load = ", ".join(f"{x:.2f}" for x in made.load_average) if made.load_average else "unknown"
    lines = [
        f"{package.manifest.name} {package.manifest.version}",
        *conditions,
        f"{made.cpu}, {made.cores} cores, {made.taken_at}; load average after it: {load}",
    ]
    parts = [f"# The service: {name}", f"`{command}`", "\n".join(f"- {line}" for line in lines)]
    parts.append(promises.markdown())
    for table in tables:
        parts += [f"## {table.title}", table.markdown()]
    for file, svg in (plots or {}).items():
        (out / file).write_text(svg, encoding="utf-8")
        parts.append(f"![{file.removesuffix('.svg')}]({file})")
    text = "\n\n".join(parts) + "\n"
    write_results(out / f"service-{name}", everything, text)
    return all(verdict.kept for verdict in verdicts)
