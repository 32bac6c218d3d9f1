"""A server in a process of its own, for as long as a benchmark needs it."""

import os
import signal
import subprocess
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

STOP_S = 30.0


@contextmanager
def running(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    before: Callable[[], None] | None = None,
) -> Generator[subprocess.Popen[bytes]]:
    """Start `command` in `folder`, with its output in `log`, and end it after the block.

    `before` is called in the new process. Every process that the server started ends with it, also
    if it ignores SIGTERM.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603
            command, env=environment, cwd=folder, stdout=stream, stderr=stream,
            start_new_session=True, preexec_fn=before,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
        finally:  # an exception of a timer may end the wait
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
