"""Downloads of pretrained weights that fail, as a message that says what to do."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from service.console.text import reason_of
from service.errors import ImportRefused


@contextmanager
def downloading(source: str, bring: str) -> Iterator[None]:
    """Turn any failure of a download into one message; `bring` says how to bring a file instead.

    Raises:
        ImportRefused: the download failed.
    """
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)  # it logs every retry
    try:
        yield
    except Exception as error:  # of several libraries, which have no common base
        raise ImportRefused(
            f"the weights of {source} cannot be downloaded ({reason_of(error)}). {bring}"
        ) from error
    finally:
        logger.setLevel(before)
