"""What this machine has for inference, and what `auto` would choose here: `quincunx doctor`."""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from service.api.server.worker_count import count_workers
from service.inference.runtime import cuda, providers
from service.inference.runtime.cores import usable_cores
from service.inference.runtime.gpu_memory import free_bytes
from service.inference.runtime.memory import usable_bytes
from service.inference.runtime.providers import Chosen
from service.package.package import fast_precision
from service.scoring.options import default_processes
from service.version import installed

LIBRARIES = ("quincunx", "onnxruntime-gpu", "onnxruntime", "numpy", "pillow")
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
    """Those that this build of ONNX Runtime offers. Their libraries and devices may be missing."""
    gpu_free_bytes: int | None = None
    """Of the first GPU; None: there is none, or nothing tells."""

    @property
    def usable(self) -> dict[Chosen, bool]:
        """The providers that Quincunx can run on, and whether each works here."""
        return {"cpu": True, "cuda": self.cuda.usable}

    @property
    def not_used(self) -> tuple[str, ...]:
        """Providers that ONNX Runtime offers and Quincunx never runs on, such as TensorRT's."""
        return tuple(one for one in self.providers if one not in providers.NAMES.values())

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
        chosen = count_workers(
            gpu=self.cuda.usable,
            cores=self.cores,
            memory_bytes=self.memory_bytes,
            gpu_free_bytes=self.gpu_free_bytes,
        )
        return Choice(str(chosen.number), chosen.reason)

    @property
    def decode_processes(self) -> Choice:
        number = default_processes(self.provider.chosen, self.cores)
        if number:
            return Choice(str(number), "quincunx score: one process decodes on each core but one")
        return Choice("0", "quincunx score decodes in threads: on a CPU processes are no faster")

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        facts = asdict(self)
        facts["cuda"] |= {"usable": self.cuda.usable}
        facts["usable_providers"] = [name for name, usable in self.usable.items() if usable]
        return {**facts, "auto": {name: asdict(choice) for name, choice in self._choices().items()}}

    def _choices(self) -> dict[str, Choice]:
        return {
            "provider": self.provider,
            "precision": self.precision,
            "workers": self.workers,
            "decode_processes": self.decode_processes,
        }

    def _providers_line(self) -> str:
        parts = [
            f"{name} is usable" if usable else f"{name} is not usable (see CUDA)"
            for name, usable in self.usable.items()
        ]
        if self.not_used:
            names = ", ".join(self.not_used)
            parts.append(f"ONNX Runtime also offers {names}, which Quincunx does not use")
        return "; ".join(parts)

    def lines(self) -> list[tuple[str, str]]:
        """For people: what, and what was found."""
        found = self.cuda
        return [
            (
                "NVIDIA driver",
                f"supports CUDA {found.driver_cuda}" if found.driver_cuda else "none",
            ),
            ("GPUs", "; ".join(found.devices) or "none"),
            (
                "free on the GPU",
                "not known" if (free := self.gpu_free_bytes) is None else f"{free / 2**30:.1f} GiB",
            ),
            ("CUDA", "usable" if found.usable else found.why_not),
            ("cuDNN", found.cudnn or "none"),
            ("providers", self._providers_line()),
            ("CPU", self.cpu),
            ("cores", str(self.cores)),
            ("instructions", ", ".join(self.instructions) or "none of " + ", ".join(INSTRUCTIONS)),
            ("memory", f"{self.memory_bytes / 2**30:.1f} GiB"),
            ("libraries", ", ".join(f"{name} {number}" for name, number in self.libraries.items())),
            *(
                (f"auto {name.replace('_', ' ')}", f"{choice.chosen}: {choice.reason}")
                for name, choice in self._choices().items()
            ),
        ]


def diagnose(look: Callable[[], cuda.Cuda] = cuda.look, cpu_info: Path = CPU_INFO) -> Diagnosis:
    """Look at this machine, within the limits of the container."""
    name, flags = _cpu(cpu_info)
    found = look()
    return Diagnosis(
        cuda=found,
        cpu=name,
        cores=usable_cores(),
        instructions=tuple(one for one in INSTRUCTIONS if one in flags),
        memory_bytes=usable_bytes(),
        libraries=installed(LIBRARIES),
        providers=providers.available(),
        gpu_free_bytes=free_bytes() if found.usable else None,
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
