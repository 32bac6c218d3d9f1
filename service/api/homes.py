"""A folder that BentoML can write to, checked before the server starts."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from service.errors import UsageError

BENTOML_HOME = "BENTOML_HOME"


@contextmanager
def bentoml_home() -> Generator[None]:
    """See that BENTOML_HOME can be written; without it, a temporary folder until the block ends.

    By itself BentoML would use `~/bentoml`, and a user may have no home that can be written.

    Raises:
        UsageError: BENTOML_HOME, or every folder for temporary files, cannot be written.
    """
    if given := os.environ.get(BENTOML_HOME):
        _check(given)
        yield
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="quincunx-", ignore_cleanup_errors=True)
    except OSError as error:
        raise UsageError(
            f"no temporary folder ({error}): set TMPDIR or {BENTOML_HOME} to one that can be "
            "written"
        ) from error
    with folder as home:
        os.environ[BENTOML_HOME] = home
        yield


def _check(given: str) -> None:
    home = Path(os.path.expanduser(os.path.expandvars(given)))  # as BentoML reads it
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise UsageError(f"{BENTOML_HOME}={given} cannot be written: {error.strerror}") from error
