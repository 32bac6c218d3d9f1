"""A process that turns groups of items into rows. Another process runs the network for it.

It gets a `Setup`, then groups of items until the other end is closed. To each group it replies with
questions (`service.scoring.processes.remote`) and at last with the rows, or with an error.
"""

import pickle
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, cast

from service.errors import OutOfResources, QuincunxError
from service.inference.image.budget import DECODING
from service.inference.predictor import Predictor
from service.inference.runtime.providers import Chosen
from service.package.manifest import Precision
from service.package.package import ModelPackage
from service.scoring.groups import Located, chunks
from service.scoring.options import ScoreOptions
from service.scoring.processes.block import SharedBlock
from service.scoring.processes.pipe import receive
from service.scoring.processes.remote import RemoteSession
from service.scoring.rows import Row
from service.scoring.scorer import Scorer

NO_MEMORY = (
    "memory ran out; give the process more of it, or work on less at once "
    "(--decode-processes, --chunk-images)"
)


@dataclass(frozen=True)
class Setup:
    """What a worker must know of the run."""

    package: ModelPackage
    precision: Precision
    provider: Chosen
    shares_crops: bool
    max_pixels: int
    max_decode_ms: int
    options: ScoreOptions
    batch_views: int
    decoding_pixels: int
    """The most pixels that this process decodes at once, unless one image has more."""

    def scorer(self, pipe: Connection, block: SharedBlock) -> Scorer:
        """The same scorer as in the process with the network."""
        session: Any = RemoteSession(pipe, block, self.provider, shares_crops=self.shares_crops)
        predictor = Predictor(
            self.package, self.precision, session, self.max_pixels, self.max_decode_ms
        )
        return Scorer(predictor, self.options, self.batch_views)


def main() -> None:
    """Work until the other end is closed."""
    pipe_fd, block_fd = map(int, sys.argv[1:])
    pipe, block = Connection(pipe_fd), SharedBlock(block_fd)
    try:
        setup = cast(Setup, receive(pipe))
        DECODING.limit_pixels = setup.decoding_pixels
        scorer = setup.scorer(pipe, block)
        while True:
            pipe.send(_answer(receive(pipe), scorer))
    except (EOFError, ConnectionError):  # the run is over
        return


def _answer(group: Sequence[Located], scorer: Scorer) -> tuple[str, Any]:
    try:
        return "rows", rows_of(group, scorer)
    except (EOFError, ConnectionError):
        raise
    except QuincunxError as error:
        return "failed", error
    except MemoryError:
        return "failed", OutOfResources(NO_MEMORY)
    except Exception as error:
        return "failed", _sendable(error)


def rows_of(group: Sequence[Located], scorer: Scorer) -> list[Row]:
    """The rows of one group, in order."""
    last = len(group) - 1
    prepared = (
        (scorer.prepare(item, position), number == last)
        for number, (position, item) in enumerate(group)
    )
    return [row for chunk, _ in chunks(prepared) for row in scorer.finish(chunk)]


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # ours, of a moment ago
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
