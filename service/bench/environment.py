"""The machine and package of a measurement. Without them a number means nothing."""

import os
import platform
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from service.inference.runtime.cores import usable_cores
from service.package.package import ModelPackage
from service.version import installed

LIBRARIES = ("quincunx", "onnxruntime-gpu", "onnxruntime", "numpy", "pillow", "bentoml")


class Environment(BaseModel):
    """The machine, its libraries and its load just before the measurement."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    taken_at: str
    """UTC, ISO 8601."""
    system: str
    cpu: str
    cores: int
    """Cores that this process may use, by affinity and by the container's quota if it has one."""
    governor: str | None
    memory_bytes: int | None
    load_average: tuple[float, float, float] | None
    """Runnable processes over 1, 5 and 15 minutes: above 0 something else was running."""
    python: str
    libraries: dict[str, str]


class PackageIdentity(BaseModel):
    """Which model was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    sha256: dict[str, str]
    """The manifest's digest of each ONNX file, and of the manifest itself."""


def environment() -> Environment:
    """Describe this machine now."""
    return Environment(
        taken_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu(),
        cores=usable_cores(),
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        memory_bytes=_memory_bytes(),
        load_average=os.getloadavg() if hasattr(os, "getloadavg") else None,
        python=platform.python_version(),
        libraries=installed(LIBRARIES),
    )


def identity(package: ModelPackage) -> PackageIdentity:
    """Identify the package by the digests of its content."""
    digests = {file.file: file.sha256 for file in package.manifest.files}
    if package.manifest.unknown is not None:
        digests[package.manifest.unknown.file] = package.manifest.unknown.sha256
    return PackageIdentity(
        name=package.manifest.name,
        version=package.manifest.version,
        sha256={**digests, "manifest.json": package.manifest_sha256},
    )


def _cpu() -> str:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None
