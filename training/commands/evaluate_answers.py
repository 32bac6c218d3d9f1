"""`quincunx evaluate` with `--feedback` or `--foreign`."""

from collections.abc import Sequence
from pathlib import Path

from service.console.stdio import log, print_json
from service.console.terminal import console
from service.package.manifest import Manifest, Mode, Precision
from training.data.labelled import Labelled


def measure_feedback_log(log_path: Path, manifest: Manifest, *, as_json: bool) -> None:
    """Score the answers of a server by its feedback log."""
    from service.feedback.reading import read_feedback
    from training.evaluation.feedback.measure import measure_feedback
    from training.evaluation.feedback.show import feedback_notes, feedback_tables

    scores = measure_feedback(read_feedback(log_path), manifest)
    if as_json:
        print_json(scores.facts())
    else:
        console().print(feedback_tables(scores, manifest))
    for line in feedback_notes(scores):
        log(line)


def compare_with_foreign(
    package: Path,
    known: Labelled,
    folder: Path,
    modes: Sequence[Mode],
    precisions: Sequence[Precision] | None,
    known_rate: str | None,
    report: Path | None,
    *,
    as_json: bool,
) -> None:
    """Compare the answers to labelled images with those to foreign ones."""
    from service.inference.option_text import read_text
    from service.inference.options import Options
    from service.package.package import ModelPackage
    from training.evaluation.foreign.measure import foreign_images, measure_foreign
    from training.evaluation.foreign.report import as_json as facts
    from training.evaluation.foreign.report import foreign_table, write_foreign_report

    rate = None if known_rate is None else read_text("known_rate", known_rate, Options.model_fields)
    foreign = foreign_images(folder)
    measured = measure_foreign(package, known, foreign.items, modes, precisions, known_rate=rate)
    notes = [*known.lines(), *foreign.skipped.lines()]
    if all(row.separation is None for row in measured.rows):
        notes.append(
            "the package has no unknown score, so only the top probability was compared "
            "(quincunx calibrate fits the score)"
        )
    if as_json:
        print_json(facts(measured, {"notes": notes}))
    else:
        console().print(foreign_table(measured))
    for path, reason in measured.unreadable.items():
        log(f"skipped {path}: {reason}")
    for line in notes:
        log(line)
    if report:
        manifest = ModelPackage.load(package).manifest
        log(f"report: {write_foreign_report(manifest, measured, report, notes)}")
