"""The summary of a run for people, on stderr."""

from typing import Any

from rich.console import Console
from rich.table import Table

from service.console import terminal
from service.listing.skipped import Skipped
from service.scoring.summary.report import of_unknown, percent, sentence, shares
from service.scoring.summary.truth import NOT_CALIBRATED, notes

MOST_CLASSES = 12
"""A larger confusion matrix does not fit a terminal. Then the most common mistakes are listed."""


def print_summary(summary: dict[str, Any]) -> None:
    """Counts, rate, errors, accuracy and confusions."""
    console = terminal.console(stderr=True)
    output = summary["output"]
    skipped = Skipped.from_json(summary["skipped_by_reason"]).lines()
    text = f"{summary['images']} images"
    if summary.get("complete_already"):
        text += f", {summary['failed']} failed. Nothing to do."
        console.print(f"{output} is complete already: {text}")
    else:
        if summary.get("resumed_from"):
            text += f" ({summary['resumed_from']} of them by an earlier run)"
        text += f", {summary['images_per_s']:g}/s, {summary['failed']} failed"
        console.print(text + ("" if output == "-" else f": {output}"))
    for kind, count in summary["errors"].items():
        console.print(f"  {kind}: {count}")
    for line in skipped:
        console.print(line)
    if picked := summary.get("uncertain"):
        console.print(f"  most worth labelling: {picked['images']} images in {picked['output']}")
    if line := of_unknown(summary):
        console.print(f"  {line}")
    if not summary["calibrated"]:
        console.print(f"  {NOT_CALIBRATED}")
    for note in notes(summary["true_labels"], summary["label_column"]):
        console.print(f"  {note}")
    if (agreement := summary.get("labels")) is not None:
        _print_agreement(console, agreement)
    if (accuracy := summary["accuracy"]) is not None:
        _print_accuracy(console, accuracy)


def _print_agreement(console: Console, agreement: dict[str, Any]) -> None:
    head = f"{agreement['images']} labelled images"
    table = Table(head, "images", "recall", "precision", "F1")
    for entry in agreement["classes"]:
        numbers = (percent(entry[name]) for name in ("recall", "precision", "f1"))
        table.add_row(entry["id"], str(entry["images"]), *numbers)
    table.add_row("all labels", "", "", "", percent(agreement["micro_f1"]))
    console.print(table)


def _print_accuracy(console: Console, accuracy: dict[str, Any]) -> None:
    table = Table(f"{accuracy['images']} labelled images", "accuracy", "95% interval")
    for row in shares(accuracy):
        table.add_row(*row)
    console.print(table)
    if single := accuracy.get("single"):
        console.print(sentence(single))
    labels, counts = accuracy["confusion"]["labels"], accuracy["confusion"]["counts"]
    if len(labels) <= MOST_CLASSES:
        matrix = Table("true \\ answered", *labels, "recall")
        for entry, label, row in zip(accuracy["classes"], labels, counts, strict=True):
            matrix.add_row(label, *map(str, row), percent(entry["recall"]))
        console.print(matrix)
        return
    mistakes = Table("true", "answered", "images")
    for true, answered, count in accuracy["confused"]:
        mistakes.add_row(true, answered, str(count))
    console.print(mistakes)
