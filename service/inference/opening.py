"""Open the graph that a machine serves. If the package lacks it, derive it first."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.errors import InferenceFailed, ModelPackageError
from service.inference.fp16 import agreement, cache
from service.inference.fp16.kept_agreement import Compared, kept
from service.inference.runtime.providers import Chosen, device, versions
from service.inference.runtime.session import Session, open_sessions
from service.package.manifest import Precision
from service.package.package import ModelPackage
from service.package.session_checks import check_fit

logger = logging.getLogger("quincunx.models")

DERIVATION = 1
"""The version of the derivation. Cache entries of another version are not used."""


@dataclass(frozen=True)
class Opened:
    """The sessions of one graph, one for each wanted number of threads."""

    precision: Precision
    sessions: tuple[Session, ...]


def open_package(
    package: ModelPackage,
    wanted: Precision | Literal["auto"],
    provider: Chosen,
    threads: Sequence[int],
    *,
    cache_folder: Path | None = None,
    io_binding: bool | None = None,
    tf32: bool = True,
) -> Opened:
    """Open the graph of `wanted`; see `ModelPackage.served_precision` for `auto`.

    An fp16 graph that the package does not have is derived from its fp32 graph and compared with
    it. If the two do not agree, `auto` opens fp32 instead. Derived graphs are kept in
    `cache_folder`, by default in the user's cache folder. fp16 always uses TF32 for its float32
    layers, because TF32 rounds no more than fp16 does.

    Raises:
        ModelPackageError: the package lacks the precision, its graph does not fit its manifest, or
            the derived graph does not agree with fp32.
        UsageError: the provider cannot open the graph.
    """
    precision = package.served_precision(wanted, gpu=provider != "cpu")

    def open_it(precision: Precision, data: bytes) -> tuple[Session, ...]:
        source = package.source(precision)
        sessions = open_sessions(
            package.path(source),
            package.manifest.input,
            threads,
            provider=provider,
            graph=package.manifest.graph,
            data=data,
            io_binding=io_binding,
            tf32=tf32 or precision == "fp16",
        )
        check_fit(sessions[0], package.manifest, exact=precision != "int8")
        return sessions

    if not package.derives(precision):
        return Opened(precision, open_it(precision, package.read(precision)))
    fp32 = package.read("fp32")
    try:
        fp16 = derived(fp32, cache_folder)
        sessions = open_it(precision, fp16)
        check_agreement(package, fp32, fp16, sessions[0], cache_folder)
        return Opened(precision, sessions)
    except ModelPackageError as error:
        if wanted != "auto":
            raise
        logger.warning("%s; fp32 is served instead", error)
    return Opened("fp32", open_it("fp32", fp32))


def derived(fp32: bytes, folder: Path | None = None) -> bytes:
    """The fp16 graph of the fp32 graph `fp32`, from the cache if it is there.

    Raises:
        ModelPackageError: the graph cannot be converted.
    """

    def make() -> bytes:
        from service.inference.fp16.graph import to_fp16  # onnx is slow to import

        try:
            return to_fp16(fp32)
        except Exception as error:  # the converter's own exceptions have no common base
            reason = " ".join(str(error).split())
            raise ModelPackageError(
                f"no fp16 graph can be derived from the fp32 graph: {reason}"
            ) from error

    digest = hashlib.sha256(f"{DERIVATION} {versions()} ".encode() + fp32).hexdigest()
    return cache.cached(f"{digest}.fp16.onnx", folder or cache.default_folder(), make)


def check_agreement(
    package: ModelPackage, fp32: bytes, fp16: bytes, session: Session, folder: Path | None = None
) -> None:
    """Compare a derived graph, where it will run, with fp32 on the CPU.

    `session` runs the graph `fp16`. The result is kept in the cache folder `folder`, so the other
    processes of a server and later starts do not compare again.

    Raises:
        ModelPackageError: the two do not agree.
    """
    path, manifest = package.path("fp32"), package.manifest

    def compare() -> agreement.Agreement:
        return agreement.compare(Session.open(path, provider="cpu", data=fp32), session, manifest)

    what = Compared(
        fp32=hashlib.sha256(fp32).hexdigest(),
        fp16=hashlib.sha256(fp16).hexdigest(),
        crop_px=manifest.input.crop_px,
        task=manifest.task,
        where=f"{device(session.provider)}, {'bound' if session.bound else 'plain'} runs",
        versions=versions(),
        method=agreement.METHOD,
    )
    try:
        seen, before = kept(what, folder or cache.default_folder(), compare)
    except InferenceFailed as error:
        raise ModelPackageError(f"the fp16 graph of {path} does not run: {error}") from error
    if not seen.good:
        raise ModelPackageError(f"the fp16 graph derived from {path} does not agree: {seen}")
    when = " (compared before)" if before else ""
    logger.info("fp16 is derived from %s: %s%s", path, seen, when)
