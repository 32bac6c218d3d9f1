"""The files of a benchmark: everything that it measured as JSON, and a page for readers."""

from pathlib import Path

from service.bench.report.compact import compact_json


def write_results(path: Path, content: object, page: str) -> None:
    """Write ``path.json`` and ``path.md``, make their folder if necessary, and print the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.json").write_text(compact_json(content), encoding="utf-8")
    path.with_name(f"{path.name}.md").write_text(page, encoding="utf-8")
    print(page)
