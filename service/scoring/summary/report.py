"""The report of a run: JSON for machines, Markdown for people."""

from typing import Any

from service.console.markdown import plain, table
from service.console.text import json_text
from service.inference.options import Options
from service.listing.skipped import Skipped
from service.package.recorded.settings import in_words
from service.scoring.summary.truth import NOT_CALIBRATED, notes


def as_json(summary: dict[str, Any]) -> str:
    """The report for machines."""
    return json_text(summary, indent=1) + "\n"


def as_markdown(summary: dict[str, Any]) -> str:
    """The report for people. Rows of the confusion matrix are true labels, columns are answers."""
    parts = [
        f"# {summary['package']}: {summary['tta']} ({summary['precision']}, {summary['provider']})",
        f"{summary['images']} images, {summary['failed']} failed.",
    ]
    if "settings" in summary:
        parts.append(f"{plain(_options(summary))}.")
    if summary["errors"]:
        parts.append("\n".join(f"- {plain(kind)}: {n}" for kind, n in summary["errors"].items()))
    if lines := Skipped.from_json(summary["skipped_by_reason"]).lines():
        parts.append("\n".join(f"- {plain(line)}" for line in lines))
    if line := of_unknown(summary):
        parts.append(f"- {line}")
    if not summary["calibrated"]:
        parts.append(f"- {plain(NOT_CALIBRATED)}")
    if said := notes(summary["true_labels"], summary["label_column"]):
        parts.append("\n".join(f"- {plain(note)}" for note in said))
    if agreement := summary.get("labels"):
        parts += _of_labels(agreement)
    elif accuracy := summary["accuracy"]:
        parts += _of_classes(accuracy)
    else:
        parts.append("No labels are known.")
    return "\n\n".join([*parts, ""])


def _of_classes(accuracy: dict[str, Any]) -> list[str]:
    """For a single-label model: accuracy, each class, and the confusions."""
    parts = [table(("", "accuracy", "95% interval"), shares(accuracy))]
    if single := accuracy.get("single"):
        parts.append(sentence(single))
    rows = [
        (entry["id"], entry["images"], percent(entry["recall"]), percent(entry["precision"]))
        for entry in accuracy["classes"]
    ]
    parts.append(table(("class", "images", "recall", "precision"), rows))
    labels = accuracy["confusion"]["labels"]
    counts = zip(labels, accuracy["confusion"]["counts"], strict=True)
    rows = [(label, *row) for label, row in counts]
    parts.append(table((r"true \ answered", *labels), rows))
    return parts


def _of_labels(agreement: dict[str, Any]) -> list[str]:
    """For a multi-label model: the agreement with the known labels."""
    names = ("recall", "precision", "f1")
    rows = [
        (entry["id"], entry["images"], *(percent(entry[name]) for name in names))
        for entry in agreement["classes"]
    ]
    return [
        f"{agreement['images']} labelled images: F1 of all labels together "
        f"{percent(agreement['micro_f1'])}, mean over classes {percent(agreement['macro_f1'])}; "
        f"all labels right on {percent(agreement['exact'])}.",
        table(("class", "images", "recall", "precision", "F1"), rows),
    ]


def _options(summary: dict[str, Any]) -> str:
    """The settings of the package, and the options that the run was given."""
    usual = Options().model_dump(mode="json")
    given = [f"{k} {v}" for k, v in summary["options"].items() if v != usual[k]]
    said = f". Options: {', '.join(given)}" if given else ""
    return in_words(summary["settings"]) + said


def of_unknown(summary: dict[str, Any]) -> str:
    """How many images are unknown; empty if the package has no unknown score."""
    count = summary.get("unknown")
    if count is None:
        return ""
    share = f" ({percent(count / summary['ok'])})" if summary["ok"] else ""
    return f"unknown images, which fit none of the classes: {count}{share}"


def shares(accuracy: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, accuracy and interval of every share in a report, as text."""
    found = [(key, accuracy[key]) for key in accuracy if key.startswith("top")]
    if "single" in accuracy:
        found.append(("single crop, top1", accuracy["single"]["top1"]))
    return [
        (name, percent(s["accuracy"]), " to ".join(percent(edge) for edge in s["interval"]))
        for name, s in found
    ]


def sentence(single: dict[str, Any]) -> str:
    """A sentence on the answers that TTA changed."""
    return (
        f"TTA corrected {single['corrected_by_tta']} wrong answers of the single crop and made "
        f"{single['regressed_by_tta']} right ones wrong: {single['tta_gain'] * 100:+.2f} points."
    )


def percent(share: float | None) -> str:
    """Two decimals, or a dash."""
    return "–" if share is None else f"{share:.2%}"
