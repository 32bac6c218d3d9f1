"""What this machine has for inference, and what `auto` would choose here: `quincunx doctor`."""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from service.inference.runtime import cuda, providers
from service.inference.runtime.cores import usable_cores
from service.inference.runtime.memory import usable_bytes
from service.package.package import fast_precision

CPU_INFO = Path("/proc/cpuinfo")
INSTRUCTIONS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8")
"""Those that make int8 fast, as the kernel names them."""
VNNI = frozenset(("avx_vnni", "avx512_vnni", "amx_int8"))


@dataclass(frozen=True)
class Choice:
    """What `auto` chooses, and why."""

    chosen: str
    reason: str


@dataclass(frozen=True)
class Diagnosis:
    """The facts, and the choices that follow from them."""

    cuda: cuda.Cuda
    cpu: str
    cores: int
    instructions: tuple[str, ...]
    memory_bytes: int
    libraries: dict[str, str]
    providers: tuple[str, ...]

    @property
    def provider(self) -> Choice:
        if self.cuda.usable:
            return Choice("cuda", "the driver and the libraries of CUDA are there")
        return Choice("cpu", f"CUDA cannot be used. {self.cuda.why_not}")

    @property
    def precision(self) -> Choice:
        chosen = fast_precision(gpu=self.cuda.usable)
        if self.cuda.usable:
            reason = "a GPU runs float16 fastest; it is derived from fp32 where a package lacks it"
        elif VNNI.intersection(self.instructions):
            reason = "the CPU multiplies int8 fast (VNNI); fp32 where a package has no int8"
        else:
            reason = (
                "a package with int8 is served so; without VNNI, int8 may be no faster than fp32"
            )
        return Choice(chosen, reason)

    @property
    def workers(self) -> Choice:
        return Choice(
            "1",
            f"one process decodes on {self.cores} threads, one for each core; more only with "
            "quincunx serve --workers N",
        )

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        facts = asdict(self)
        facts["cuda"] |= {"usable": self.cuda.usable}
        choices = {"provider": self.provider, "precision": self.precision, "workers": self.workers}
        return {**facts, "auto": {name: asdict(choice) for name, choice in choices.items()}}

    def lines(self) -> list[tuple[str, str]]:
        """For people: what, and what was found."""
        found = self.cuda
        return [
            (
                "NVIDIA driver",
                f"supports CUDA {found.driver_cuda}" if found.driver_cuda else "none",
            ),
            ("GPUs", "; ".join(found.devices) or "none"),
            ("CUDA", "usable" if found.usable else found.why_not),
            ("cuDNN", found.cudnn or "none"),
            ("providers", ", ".join(self.providers)),
            ("CPU", self.cpu),
            ("cores", str(self.cores)),
            ("instructions", ", ".join(self.instructions) or "none of " + ", ".join(INSTRUCTIONS)),
            ("memory", f"{self.memory_bytes / 2**30:.1f} GiB"),
            ("libraries", ", ".join(f"{name} {number}" for name, number in self.libraries.items())),
            *(
                (f"auto {name}", f"{choice.chosen}: {choice.reason}")
                for name, choice in (
                    ("provider", self.provider),
                    ("precision", self.precision),
                    ("workers", self.workers),
                )
            ),
        ]


def diagnose(look: Callable[[], cuda.Cuda] = cuda.look, cpu_info: Path = CPU_INFO) -> Diagnosis:
    """Look at this machine, within the limits of the container."""
    name, flags = _cpu(cpu_info)
    return Diagnosis(
        cuda=look(),
        cpu=name,
        cores=usable_cores(),
        instructions=tuple(one for one in INSTRUCTIONS if one in flags),
        memory_bytes=usable_bytes(),
        libraries=_libraries(),
        providers=providers.available(),
    )


def _cpu(cpu_info: Path) -> tuple[str, frozenset[str]]:
    """The name of the processor, and the names of its instruction sets."""
    try:
        lines = cpu_info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # only Linux has it
        return platform.processor() or platform.machine(), frozenset()
    facts: dict[str, str] = {}
    for line in lines:
        what, _, value = line.partition(":")
        facts[what.strip()] = value.strip()
    name = facts.get("model name") or platform.machine()
    return name, frozenset(facts.get("flags", "").split())


def _libraries() -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("quincunx", "onnxruntime-gpu", "onnxruntime", "numpy", "pillow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
