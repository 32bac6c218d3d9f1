"""The validation images of a Learner as labelled files."""

from pathlib import Path
from typing import Any

from fastai.learner import Learner

from service.errors import UsageError
from training.data.item import Item


def validation_items(learn: Learner) -> list[Item]:
    """Files and labels of the validation set of `learn.dls`, by the names of its vocabulary.

    Raises:
        UsageError: no validation set, as in a Learner that was loaded from a file; or images that
            do not come from files.
    """
    dls: Any = learn.dls
    images, targets = dls.valid_ds.tls[0], dls.valid_ds.tls[1]
    if not len(images):
        raise UsageError(
            "the Learner has no validation images (one that was loaded from a file has none): name "
            "a folder as data"
        )
    vocab = [str(name) for name in dls.vocab]
    return [Item(_file(images, at), _label(targets[at], vocab)) for at in range(len(images))]


def _file(images: Any, at: int) -> Path:
    """The file of an image: its item, or what the first transforms make of the item."""
    items = images.items
    value = items.iloc[at] if hasattr(items, "iloc") else items[at]  # a table's rows
    for step in (None, *images.tfms.fs):
        value = value if step is None else step(value, split_idx=1)
        if isinstance(value, (str, Path)) and Path(value).is_file():
            return Path(value)
    raise UsageError(
        f"validation image {at} of the Learner does not come from a file: name a folder as data"
    )


def _label(target: Any, vocab: list[str]) -> str:
    """A class, or all classes of a multi-label image, separated as in a table."""
    if target.ndim == 0:
        return vocab[int(target)]
    return ";".join(name for name, known in zip(vocab, target.tolist(), strict=True) if known)
