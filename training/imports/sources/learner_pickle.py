"""`learner.pkl`: a Learner that `Learner.export` wrote. It is a pickle, so it needs trust."""

import warnings
from pathlib import Path

from service.console.text import reason_of
from service.errors import ImportRefused, UsageError
from training.imports.given import Given
from training.imports.modules.source import ModuleSource
from training.imports.sources.extras import library

MEANING = (
    "is a pickle: reading it runs code that the file names, with all your rights. If you trust the "
    "person who made it, and know that nobody changed it since, add --trust-pickle. Without trust: "
    "call quincunx.export_learner(learn, FOLDER) where the Learner was trained"
)


def read(name: str, given: Given) -> ModuleSource:
    """The model of a Learner, and what the Learner says of it.

    Raises:
        UsageError: the file is not trusted, or is not there.
        ImportRefused: it cannot be read, or is not a classifier.
    """
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"no file {path}")
    if given.weights is not None:
        raise UsageError("--weights is for timm and torchvision: a Learner has its weights")
    if not given.trust_pickle:
        raise UsageError(f"{path} {MEANING}")
    library("torchvision", "train")
    library("fastai.vision.all", "train")
    from fastai.learner import Learner, load_learner

    from training.imports.learners import reading

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles, which the user trusts
            learn = load_learner(path)
    except Exception as error:  # of pickle, and of any code in the file
        reason = reason_of(error, 300)
        raise ImportRefused(
            f"{path} cannot be loaded as a Learner ({type(error).__name__}: {reason}). Functions "
            "that the Learner uses, such as its get_y, must be importable here as in training"
        ) from error
    if not isinstance(learn, Learner):
        raise ImportRefused(f"{path} holds a {type(learn).__name__}, not a Learner")
    return reading.read(learn, path.name)
