"""The report of a run: JSON for machines, Markdown for people."""

import json
from typing import Any


def as_json(summary: dict[str, Any]) -> str:
    """The report for machines."""
    return json.dumps(summary, indent=1, ensure_ascii=False) + "\n"


def as_markdown(summary: dict[str, Any]) -> str:
    """The report for people; the confusion matrix has true labels down and answers across."""
    lines = [
        f"# {summary['package']}: {summary['tta']} ({summary['precision']}, {summary['provider']})",
        "",
        f"{summary['images']} images, {summary['failed']} failed.",
        "",
    ]
    for kind, count in summary["errors"].items():
        lines.append(f"- {kind}: {count}")
    accuracy = summary["accuracy"]
    if agreement := summary.get("labels"):
        return "\n".join([*lines, "", *_of_labels(agreement), ""])
    if accuracy is None:
        return "\n".join([*lines, "No labels are known.", ""])
    lines += ["", "| | accuracy | 95% interval |", "|---|---|---|"]
    lines += [f"| {name} | {value} | {interval} |" for name, value, interval in shares(accuracy)]
    if single := accuracy.get("single"):
        lines += ["", sentence(single)]
    lines += ["", "| class | images | recall | precision |", "|---|---|---|---|"]
    for entry in accuracy["classes"]:
        recall, precision = percent(entry["recall"]), percent(entry["precision"])
        lines.append(f"| {entry['id']} | {entry['images']} | {recall} | {precision} |")
    labels = accuracy["confusion"]["labels"]
    lines += ["", "| true \\ answered | " + " | ".join(labels) + " |"]
    lines.append("|---" * (len(labels) + 1) + "|")
    for label, counts in zip(labels, accuracy["confusion"]["counts"], strict=True):
        lines.append(f"| {label} | " + " | ".join(map(str, counts)) + " |")
    return "\n".join([*lines, ""])


def _of_labels(agreement: dict[str, Any]) -> list[str]:
    """Of a multi-label model: the agreement with the labels that are known."""
    return [
        f"{agreement['images']} labelled images: F1 of all labels together "
        f"{percent(agreement['micro_f1'])}, mean over classes {percent(agreement['macro_f1'])}; "
        f"all labels right on {percent(agreement['exact'])}.",
        "",
        "| class | images | recall | precision | F1 |",
        "|---|---|---|---|---|",
        *(
            f"| {entry['id']} | {entry['images']} | {percent(entry['recall'])} "
            f"| {percent(entry['precision'])} | {percent(entry['f1'])} |"
            for entry in agreement["classes"]
        ),
    ]


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
    """What TTA changed."""
    return (
        f"TTA mended {single['mended_by_tta']} answers of the single crop and spoiled "
        f"{single['spoiled_by_tta']}: {single['tta_gain'] * 100:+.2f} points."
    )


def percent(share: float | None) -> str:
    """Two decimals, or a dash."""
    return "–" if share is None else f"{share:.2%}"
