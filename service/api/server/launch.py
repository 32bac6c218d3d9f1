"""Start the server of `quincunx serve`, after all checks that need no worker."""

import ipaddress
import math
import os
import socket
import subprocess

from service.api.observability.logs import start_logging
from service.api.server import worker
from service.api.server.feedback_desk import check_folder, room_bytes
from service.api.server.preflight import check_packages, say_what_is_passed_over, say_where
from service.api.server.shared_memory import Shared
from service.api.server.supervisor import Supervisor
from service.api.server.worker_count import count_workers
from service.api.web.hosts import LOCAL
from service.console.stdio import log
from service.errors import StartFailed, UsageError
from service.inference.image.budget import usual_pixels
from service.inference.runtime.cores import usable_cores
from service.inference.runtime.gpu_memory import free_bytes
from service.inference.runtime.memory import usable_bytes
from service.setting_values.renamed import rename_warnings, with_new_names
from service.settings import Settings, links_in, variable_of

BACKLOG = 2048
MARGIN_S = 3.0
"""Time for a worker to end, beyond the drain and the longest request."""


def launch(overrides: dict[str, str], *, host: str, port: int, workers: int | None) -> None:
    """Serve until the process is told to end; `workers` None: as many as fit this machine.

    Raises:
        UsageError: an invalid setting, or an address on which the server cannot listen.
        ModelPackageError: a package that is incomplete or altered.
        StartFailed: workers that cannot start.
        ServerError: workers that had to be killed at the end.
    """
    os.environ.update({variable_of(name): value for name, value in overrides.items()})
    _leave_out_links()
    _use_new_names()
    settings = Settings.from_environment()
    settings.keys()
    check_folder(settings)
    tags = check_packages(settings)
    say_what_is_passed_over(settings)
    # The workers need not look for a GPU again, nor say again what is missing.
    os.environ[variable_of("provider")] = provider = say_where(settings)
    if workers is None:
        workers = _choose_workers(provider != "cpu", len(tags))
    if workers > 1:  # processes share the cores and the memory: none may take all of them
        os.environ.setdefault(variable_of("threads"), str(max(1, usable_cores() // workers)))
        pixels = str(max(1, usual_pixels() // workers))
        os.environ.setdefault(variable_of("max_decoding_pixels"), pixels)
    with _listen(host, port) as listener:
        if ipaddress.ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback:
            # Here only browsers of this machine use another name: see service/api/web/hosts.py.
            os.environ.setdefault(variable_of("allowed_hosts"), LOCAL)
        _serve(settings, tags, listener, workers)


def _choose_workers(gpu: bool, models: int) -> int:
    chosen = count_workers(
        gpu=gpu,
        cores=usable_cores(),
        memory_bytes=usable_bytes(),
        gpu_free_bytes=free_bytes() if gpu else None,
        models=models,
    )
    if gpu:
        log(f"quincunx: {chosen.number} workers (--workers auto): {chosen.reason}")
    return chosen.number


def _leave_out_links() -> None:
    """Warn once about variables of services, and hide them from the workers, which also warn."""
    links = links_in(os.environ)
    for variable in links:
        del os.environ[variable]
    if links:
        log(f"quincunx: ignored, since they describe services: {', '.join(links)}")


def _use_new_names() -> None:
    """Warn once about old names of variables, and give the workers the new ones."""
    for warning in rename_warnings(os.environ):
        log(f"quincunx: {warning}")
    renamed = with_new_names(os.environ)
    for variable in set(os.environ) - set(renamed):
        del os.environ[variable]
    os.environ.update(renamed)


def _serve(settings: Settings, tags: list[str], listener: socket.socket, workers: int) -> None:
    try:
        shared = Shared.create(workers, room_bytes(settings))
    except OSError as error:
        raise StartFailed(f"no memory to share with the workers: {error}") from error
    address, port = listener.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    line = f"quincunx: serving {', '.join(tags)} on http://{shown}:{port}"

    def say_so() -> None:
        log(line)

    request_s = settings.request_timeout_ms / 1000
    graceful_s = math.ceil(request_s) + 1

    def start(index: int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(  # noqa: S603
            worker.command(listener.fileno(), shared.fd, index, workers, graceful_s),
            stdin=subprocess.DEVNULL,
            pass_fds=(listener.fileno(), shared.fd),
            start_new_session=True,  # Ctrl-C is for the supervisor alone
        )

    logging = start_logging(settings.log_format)
    try:
        Supervisor(
            start,
            workers,
            shared,
            silence_s=settings.worker_silence_ms / 1000,
            stop_s=settings.drain_ms / 1000 + graceful_s + MARGIN_S,
            on_ready=say_so,
            # The port closes when the last worker closes it. If this process kept it open, clients
            # could still connect, and nobody would answer them.
            on_end=listener.close,
        ).run()
    finally:
        logging.stop()


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens on `host`, for all workers."""
    try:
        family, _, _, _, resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(resolved)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listener
