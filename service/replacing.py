"""Replace a file in one step: it exists completely or not at all."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing_file(path: Path) -> Generator[IO[bytes]]:
    """Write a file beside `path`, sync it, and rename it to `path` if the block raises no error.

    So `path` has the old or the new content, even after a power cut. An error in the block removes
    the new file.
    """
    aside = path.with_name(f"{path.name}.tmp")
    try:
        with aside.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)  # room for others, where the disk is full
        raise


def runs(pid: int) -> bool:
    """Whether there is a process `pid` on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        return True
    return True
