"""The scores of a feedback log as text for people."""

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table

from service.package.labels import listed
from service.package.manifest import Manifest
from training.evaluation.feedback.measure import FeedbackScores, Share

MOST_CONFUSED = 20


def feedback_tables(scores: FeedbackScores, manifest: Manifest) -> RenderableType:
    """Tables of the accuracy in all, for each mode and class, and of the confused classes."""
    names = {label.id: label.name for label in manifest.labels}
    answers = _shares("answers", {"all": scores.right, **scores.by_mode}, "right")
    classes = _shares(
        "class", {names[label]: share for label, share in scores.by_class.items()}, "right"
    )
    tables = [answers, classes] if scores.by_class else [answers]
    if scores.confused:
        confused = Table("right class", "class in the answer", "images")
        for label, predicted, images in scores.confused[:MOST_CONFUSED]:
            confused.add_row(names.get(label, label), names.get(predicted, predicted), str(images))
        tables.append(confused)
    if scores.foreign_found.images:
        tables.append(_shares("images of no class", {"all": scores.foreign_found}, "found unknown"))
    return Group(*tables)


def feedback_notes(scores: FeedbackScores) -> Iterator[str]:
    """One line for each group of rows that is not in the tables."""
    if len(scores.confused) > MOST_CONFUSED:
        yield f"{len(scores.confused) - MOST_CONFUSED} further pairs of classes: see --json"
    if scores.wrong_without_label:
        yield f"wrong, right class not known: {listed(scores.wrong_without_label)}"
    if scores.strange_labels:
        yield f"left out, labels that the package has not: {listed(scores.strange_labels)}"
    if scores.unknown_ids:
        yield f"left out, answers that the server did not know: {scores.unknown_ids}"
    if scores.other_models:
        yield f"left out, answers of other models: {listed(scores.other_models)}"


def _shares(kind: str, shares: Mapping[str, Share], what: str) -> Table:
    table = Table(kind, "images", f"{what} % (95%)")
    for name, share in shares.items():
        if share.images:
            low, high = share.interval
            shown = f"{100 * share.share:.1f} ({100 * low:.1f} to {100 * high:.1f})"
        else:
            shown = "none"
        table.add_row(name, str(share.images), shown)
    return table
