"""A folder with the results: results.json has everything, report.md and report.html the plots."""

from collections.abc import Sequence
from pathlib import Path

from service.bench.report.compact import compact_json
from service.bench.report.plots import latency_plots, load_plots
from service.bench.report.results import LatencyReport, LoadReport
from service.bench.report.tables import ReportTable, latency_tables, load_tables
from service.console.markdown import plain
from service.console.text import in_html

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { border-bottom: 1px solid #ccc; padding: .25rem .6rem; text-align: right }
th:first-child, td:first-child { text-align: left }
.scroll { overflow-x: auto }
svg { max-width: 100%; height: auto }
"""

Report = LatencyReport | LoadReport


def write(report: Report, folder: Path, *, plots: bool = True) -> None:
    """Write results.json, report.md, report.html and, if `plots`, the plots as SVG files.

    Raises:
        QuincunxError: plots are wanted and matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = compact_json(report.model_dump(mode="json"))
    (folder / "results.json").write_text(content, encoding="utf-8")
    drawn = _plots(report) if plots else {}
    for name, svg in drawn.items():
        (folder / name).write_text(svg, encoding="utf-8")
    (folder / "report.md").write_text(markdown(report, tuple(drawn)), encoding="utf-8")
    (folder / "report.html").write_text(html(report, drawn), encoding="utf-8")


def tables(report: Report) -> tuple[ReportTable, ...]:
    """The tables of either kind of report."""
    return latency_tables(report) if isinstance(report, LatencyReport) else load_tables(report)


def markdown(report: Report, plots: Sequence[str] = ()) -> str:
    """The report as Markdown, plots by file name."""
    parts = [f"# {plain(_title(report))}", _bullets(conditions(report))]
    for table in tables(report):
        parts += [f"## {plain(table.title)}", table.markdown()]
    if report.notes:
        parts += ["## Before you believe it", _bullets(report.notes)]
    parts += [f"![{name.removesuffix('.svg').replace('-', ' ')}]({name})" for name in plots]
    return "\n\n".join(parts) + "\n"


def html(report: Report, plots: dict[str, str]) -> str:
    """The report as one self-contained page."""
    body = [f"<h1>{in_html(_title(report))}</h1>", _list(conditions(report))]
    for table in tables(report):
        body += [f"<h2>{in_html(table.title)}</h2>", _table(table)]
    if report.notes:
        body += ["<h2>Before you believe it</h2>", _list(report.notes)]
    body += list(plots.values())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{in_html(_title(report))}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def conditions(report: Report) -> list[str]:
    """The conditions of the measurement: package, options and machine."""
    made = report.environment
    load = made.load_average
    machine = [
        f"{made.cpu}, {made.cores} cores, governor {made.governor or 'unknown'}, {made.system}",
        "load average before: " + (", ".join(f"{x:.2f}" for x in load) if load else "unknown"),
        f"Python {made.python}, " + ", ".join(f"{n} {v}" for n, v in made.libraries.items()),
        f"taken at {made.taken_at}",
    ]
    if isinstance(report, LatencyReport):
        what = [
            f"{report.package.name} {report.package.version} on {report.provider}, "
            f"{report.threads} threads; "
            + ", ".join(f"{name} {sha[:12]}" for name, sha in report.package.sha256.items()),
            f"images: {report.images}",
            f"{report.rounds} rounds in {report.seconds:.0f} s after {report.warm_up_rounds} to "
            f"warm up; every round runs every case once in its own order (seed {report.seed})",
        ]
    else:
        how = report.settings
        what = [
            f"{how.url}; {', '.join(f'{mode} {share:.0%}' for mode, share in how.mix.items())}",
            f"images: {how.images}",
            f"{how.arrivals} arrivals; steps of {how.seconds:g} s after {how.warm_up_seconds:g} s "
            f"to warm up; {how.processes} client processes, {how.connections} connections (seed "
            f"{how.seed})",
        ]
        if report.best_per_second:
            what.append(
                f"p{report.slo_percentile:g} ≤ {report.slo_ms:g} ms is kept up to "
                f"{report.best_per_second:.1f} requests per second"
            )
    return [*what, *machine]


def _plots(report: Report) -> dict[str, str]:
    return latency_plots(report) if isinstance(report, LatencyReport) else load_plots(report)


def _title(report: Report) -> str:
    if isinstance(report, LatencyReport):
        return f"Latency of {report.package.name}"
    return f"Load on {report.settings.url}"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {plain(line)}" for line in lines)


def _list(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{in_html(line)}</li>" for line in lines) + "</ul>"


def _table(table: ReportTable) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{in_html(cell)}</{tag}>" for cell in cells) + "</tr>"

    rows = "".join(row(cells, "td") for cells in table.rows)
    head = row(table.header, "th")
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
