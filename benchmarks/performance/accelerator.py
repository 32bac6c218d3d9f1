"""The cost model's prediction for a GPU: three rates, the lowest of which limits the service.

The prediction uses published figures and this machine's decode rate. `benchmarks.gpu` measures.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Accelerator:
    """A GPU in a server."""

    name: str
    decode_cores: int
    fp16_tops: float
    """Dense fp16 with fp32 accumulation, as published."""
    used_share: float
    """The share of these operations that a convolutional network reaches."""
    link_gbytes: float
    """From host memory to the GPU, as achieved with pinned memory."""


# NVIDIA's data sheet: 989 TFLOPS dense fp16, 1,979 TOPS dense int8; PCIe 5.0 x16. The share is that
# of MLPerf inference's ResNet-50 offline on one H100: 88,714 images/s of 8.2 G operations each in
# int8 are 37% of 1,979 TOPS. Few pinned copies get more than 50 of the 64 GB/s of the link.
H100 = Accelerator("H100 SXM, 16 cores", 16, 989.0, 0.37, 50.0)


@dataclass(frozen=True)
class Rates:
    """Images per second that each part alone allows."""

    decode: float
    transfer: float
    compute: float

    @property
    def limit(self) -> str:
        rates = {"decode": self.decode, "transfer": self.transfer, "compute": self.compute}
        return min(rates, key=lambda part: rates[part])

    @property
    def images_per_second(self) -> float:
        return min(self.decode, self.transfer, self.compute)


def predict(
    accelerator: Accelerator, decode_ms: float, view_pixels: int, operations: float
) -> Rates:
    """The rates of a mode that prepares an image in `decode_ms` on one core, sends `view_pixels`
    RGB pixels of it and runs `operations` on them."""
    return Rates(
        decode=accelerator.decode_cores * 1e3 / decode_ms,
        transfer=accelerator.link_gbytes * 1e9 / (3 * view_pixels),
        compute=accelerator.fp16_tops * accelerator.used_share * 1e12 / operations,
    )
