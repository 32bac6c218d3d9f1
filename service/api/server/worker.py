# pyright: reportMissingTypeStubs=false
"""One worker process of `quincunx serve`: BentoML's worker with the supervisor's files."""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service import own_process
from service.api.server.shared_memory import Shared, Slot
from service.console.stdio import log
from service.errors import QuincunxError, ServerError, UsageError

logger = logging.getLogger("quincunx.service")

SERVICE = "service.api.app:Quincunx"


@dataclass(frozen=True)
class _Started:
    """How `quincunx serve` started this worker."""

    supervisor: int
    """Process id."""
    shared: Shared
    workers: int
    path: tuple[str, ...]
    """The module search path at the start."""


_started: _Started | None = None


def supervisor() -> int | None:
    """The process id of the supervisor; None under `bentoml serve`."""
    return _started.supervisor if _started else None


def worker_count() -> int:
    """The number of workers of this server; 1 where it is not known, as under `bentoml serve`."""
    return _started.workers if _started else 1


def command(listener: int, shared: int, index: int, workers: int, graceful_s: int) -> list[str]:
    """The command line of worker `index` of `workers`, which inherits both file descriptors.

    `graceful_s`: requests that are not answered within this time after SIGTERM are given up.
    """
    return own_process.command(
        "service.api.server.worker",
        *("--listener", listener, "--shared", shared, "--supervisor", os.getpid()),
        *("--index", index, "--workers", workers, "--graceful-s", graceful_s),
    )


def main() -> None:
    """Serve until SIGTERM."""
    global _started
    parser = argparse.ArgumentParser()
    for name in ("listener", "shared", "supervisor", "index", "workers", "graceful-s"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    try:
        Path.cwd()
    except FileNotFoundError:  # deleted since the server started; BentoML needs one
        os.chdir("/")
    _started = _Started(given.supervisor, Shared(given.shared), given.workers, tuple(sys.path))

    if given.workers > 1:
        import uvicorn

        from service.api.server.accepting import BalancedServer

        BalancedServer.shared = _started.shared
        uvicorn.Server = BalancedServer  # BentoML has no option for another one

    from _bentoml_impl.worker.service import main as serve

    serve(
        [
            *(SERVICE, "--service-name", "quincunx", "--fd", str(given.listener)),
            *("--worker-id", str(given.index)),
            *("--timeout-graceful-shutdown", str(given.graceful_s)),
            *_bentoml_options(),
        ]
    )


def _bentoml_options() -> list[str]:
    """BentoML's options for the socket. This imports the service."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml.serving import construct_ssl_args

    # BentoML would make folders there, but the server needs none.
    BentoMLContainer.bentoml_home.set(os.environ.get("BENTOML_HOME", "bentoml"))
    # BentoML puts the current folder first. Import before that, so that no module comes from there.
    importlib.import_module(SERVICE.partition(":")[0])
    tls = BentoMLContainer.ssl
    tls_options = construct_ssl_args(
        ssl_certfile=tls.certfile.get(),
        ssl_keyfile=tls.keyfile.get(),
        ssl_keyfile_password=tls.keyfile_password.get(),
        ssl_version=tls.version.get(),
        ssl_cert_reqs=tls.cert_reqs.get(),
        ssl_ca_certs=tls.ca_certs.get(),
        ssl_ciphers=tls.ciphers.get(),
    )
    return ["--backlog", str(BentoMLContainer.api_server_config.backlog.get()), *tls_options]


def join(room_bytes: int = 0) -> tuple[Shared | None, Slot | None]:
    """The memory that the workers of this server share, and the slot of this worker.

    `room_bytes` is the room after each slot, if this worker makes the memory.

    Under `bentoml serve` there may be none. Then a worker counts and reloads for itself only.

    Raises:
        ServerError: there is no memory for a worker of `quincunx serve`.
    """
    if _started is not None:
        sys.path[:] = _started.path  # BentoML has put the current folder first
        try:
            return _started.shared, _started.shared.claim()
        except OSError as error:
            raise ServerError(f"no shared memory for a worker: {error}") from error
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")  # BentoML's, for one server
    try:
        if folder:
            shared = Shared.in_folder(Path(folder), room_bytes)
            return shared, shared.claim()
    except OSError as error:
        logger.warning("this worker counts metrics and reloads for itself only: %s", error)
    return None, None


@contextmanager
def starting(slot: Slot | None = None) -> Generator[None]:
    """Wraps the start of a worker: a Quincunx error ends the worker with one line.

    If the worker has a `slot`, the supervisor prints the line, once for all workers.
    """
    try:
        yield
    except QuincunxError as error:
        code = 2 if isinstance(error, UsageError) else 1
        if _started is not None and slot is not None:
            slot.fail(code, str(error))
        else:
            log(f"quincunx: error: {error}")
        os._exit(code)
    except Exception as error:
        if slot is not None:
            slot.fail(0, f"{type(error).__name__}: {error}".removesuffix(": "))
        raise
