"""What is known of the true labels in a run: known to the model, unknown to it, or missing."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from service.package.labels import listed
from service.scoring.files import folder_name

MOST_NAMES = 1_000
"""Unknown labels, and folders, that are counted one by one; the rest is counted together."""
SHOWN = 20


@dataclass
class Truth:
    """Counts answered images by their true labels. Its size does not grow with the rows."""

    known: int = 0
    """Images all of whose labels are classes of the model."""
    unknown: int = 0
    """Images with a label that is not a class of the model."""
    without: int = 0
    """Images without a label."""
    labels: Counter[str] = field(default_factory=lambda: Counter[str]())
    """Unknown labels to their images."""
    folders: Counter[str] = field(default_factory=lambda: Counter[str]())
    """Folders of images without a label, to these images."""

    def add(self, labels: Collection[str], classes: Collection[str]) -> None:
        """Count an image with true `labels`, for a model of these `classes`."""
        unknown = [label for label in labels if label not in classes]
        for label in unknown:
            _count(self.labels, label)
        if unknown:
            self.unknown += 1
        else:
            self.known += 1

    def add_without(self, path: str) -> None:
        """Count an image whose label is not known."""
        self.without += 1
        _count(self.folders, folder_name(path))

    def summary(self) -> dict[str, Any]:
        """The counts; of unknown labels and of folders the commonest."""
        return {
            "known": self.known,
            "unknown": self.unknown,
            "none": self.without,
            "distinct_unknown_labels": len(self.labels),
            "unknown_labels": dict(self.labels.most_common(SHOWN)),
            "folders_without_label": dict(self.folders.most_common(SHOWN)),
        }


def _count(names: Counter[str], name: str) -> None:
    if name in names or len(names) < MOST_NAMES:
        names[name] += 1


NOT_CALIBRATED = (
    "the confidence of this mode was not calibrated: probabilities are the network's own "
    "(quincunx calibrate fits them)"
)


def notes(truth: dict[str, Any], asked: str | None = None) -> list[str]:
    """Sentences for people on labels that are unknown or missing, from `Truth.summary`.

    `asked` is the label column that was named. If none was named and no image has a label, there
    is no sentence.
    """
    labelled = truth["known"] + truth["unknown"]
    found: list[str] = []
    if truth["unknown"]:
        found.append(
            f"{truth['unknown']} of {labelled} labelled images have a true label that is not a "
            "class of the model, and count as answered wrong: "
            + listed(truth["unknown_labels"], of=truth["distinct_unknown_labels"])
        )
    if asked is not None and not labelled and truth["none"]:
        found.append(f"no answered image has a label in the column {asked!r}: no accuracy is known")
    if labelled and truth["none"]:
        found.append(
            f"{truth['none']} answered images have no true label and are not in the accuracy; "
            f"they lie in the folders {listed(truth['folders_without_label'])}"
        )
    return found
