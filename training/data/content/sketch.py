"""Which images a package was trained on, in at most 8 KiB: a bottom-k sketch of their contents.

Every file has a uniform digest. The sketch keeps the smallest ones. In another folder, the files
whose digests are in that range are a random sample of the folder. The share of this sample that the
sketch holds is the share of the folder that was trained on (Cohen and Kaplan, 2007). With up to
`MOST` training images the sketch holds all of them, so the share is exact.
"""

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.console.text import storable
from training.data.content.digest import Digest, content_digest, rough_digest

MOST = 1024
ROUGH, EXACT = 1, 2
DIGESTS: dict[int, Digest] = {ROUGH: rough_digest, EXACT: content_digest}
"""The digests that each version of a stored sketch holds."""


@dataclass(frozen=True)
class Sketch:
    """The smallest digests of a set of images: uint64, sorted, each once."""

    images: int
    """Different images in the whole set."""
    digests: NDArray[np.uint64]
    version: int = EXACT

    @classmethod
    def of(cls, paths: Iterable[Path], version: int = EXACT) -> "Sketch":
        """The sketch of these files, which are read."""
        digest = DIGESTS[version]
        every = np.unique(np.array([digest(path) for path in paths], dtype=np.uint64))
        return cls(len(every), every[:MOST], version)

    @property
    def digest(self) -> Digest:
        """The digest of a file as this sketch holds it."""
        return DIGESTS[self.version]

    @property
    def is_whole(self) -> bool:
        """Whether it holds the whole set, so that answers are exact."""
        return self.images <= len(self.digests)

    def known(self, paths: Iterable[Path]) -> tuple[list[Path], int]:
        """(the files of a random sample of `paths` whose content is in the set, the sample's size).

        The sample is all of `paths` where the sketch is whole.
        """
        last = None if self.is_whole else int(self.digests[-1])
        held, sampled, known = set(self.digests.tolist()), 0, list[Path]()
        for path in paths:
            digest = self.digest(path)
            if last is None or digest <= last:
                sampled += 1
                known += [path] * (digest in held)
        return known, sampled

    def share_in(self, paths: Iterable[Path]) -> float:
        """The share of the set that is among `paths`, 0..1: exact, or estimated."""
        known, _ = self.known(paths)
        return len({self.digest(path) for path in known}) / max(1, len(self.digests))

    def to_json(self) -> dict[str, Any]:
        text = base64.b64encode(self.digests.astype(">u8").tobytes()).decode()
        return {"version": self.version, "images": self.images, "digests": text}

    @classmethod
    def of_provenance(cls, provenance: dict[str, Any]) -> "Sketch | None":
        """The sketch in a package's provenance; None for a package without one."""
        try:
            stored = provenance["dataset"]["content"]
            digests = np.frombuffer(base64.b64decode(stored["digests"]), dtype=">u8")
            version = int(stored.get("version", ROUGH))
            if version not in DIGESTS:
                return None
            return cls(int(stored["images"]), digests.astype(np.uint64), version)
        except (AttributeError, KeyError, TypeError, ValueError, binascii.Error):
            return None


def trained_on(provenance: dict[str, Any], paths: Sequence[Path]) -> str:
    """How many of the images a package was trained on, as the subject of a sentence; "" for none.

    The weights that its training started from count too: the text is about the training with the
    largest share. Also "" for a package without a sketch.
    """
    most, text = 0.0, ""
    for sketch in _sketches(provenance):
        known, sampled = sketch.known(paths)
        if not known or len(known) / sampled <= most:
            continue
        most = len(known) / sampled
        share = f"{len(known)} of" if sketch.is_whole else f"about {most:.0%} of"
        text = f"{share} the {len(paths)} images (one is {storable(str(known[0]))})"
    return text


def _sketches(provenance: dict[str, Any]) -> Iterator[Sketch]:
    """Of a training, then of the training whose weights it started from, and so on."""
    training: Any = provenance
    while isinstance(training, dict):
        if sketch := Sketch.of_provenance(training):
            yield sketch
        training = training.get("started_from")
