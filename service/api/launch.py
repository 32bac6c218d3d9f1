"""Start BentoML's server for `quincunx serve`, after checking what can be checked beforehand."""

import os
import shutil
import socket
import sys
import tempfile

from service.api.models import package_folders
from service.errors import UsageError
from service.inference.cores import usable_cores
from service.inference.package import ModelPackage
from service.settings import Settings, variable_of


def launch(overrides: dict[str, str], *, host: str, port: int, workers: int) -> None:
    """Serve until the process is told to end.

    Raises:
        UsageError: a setting that makes no sense, or an address that cannot be listened on.
        ModelPackageError: a package that is incomplete or altered.
    """
    os.environ.update({variable_of(name): value for name, value in overrides.items()})
    if workers > 1:  # processes that share the cores must not each take all of them
        os.environ.setdefault(variable_of("threads"), str(max(1, usable_cores() // workers)))
    settings = Settings.from_environment()
    tags: list[str] = []
    for folder in package_folders(settings):
        manifest = ModelPackage.load(folder).manifest
        tags.append(f"{manifest.name}@{manifest.version}")
    address = _check_address(host, port)
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")  # nothing is sent anywhere
    home = tempfile.mkdtemp(prefix="quincunx-")
    try:
        _serve(home, tags, address, port, workers)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _serve(home: str, tags: list[str], address: str, port: int, workers: int) -> None:
    # BentoML keeps the metrics of all processes in one folder of its home and empties it at every
    # start: two servers on a machine would empty each other's.
    from bentoml._internal.configuration.containers import BentoMLContainer

    from service.api.app import Quincunx

    BentoMLContainer.prometheus_multiproc_dir.set(home)
    Quincunx.config["workers"] = workers
    shown = f"[{address}]" if ":" in address else address
    line = f"quincunx: serving {', '.join(tags)} on http://{shown}:{port}"
    print(line, file=sys.stderr, flush=True)
    Quincunx.serve_http(host=address, port=port)


def _check_address(host: str, port: int) -> str:
    """Resolve `host`, and see that the port is free: circus would try for ever."""
    try:
        family, _, _, _, resolved = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(resolved)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return str(resolved[0])
