"""Where a batch of crops comes from: pixels in GPU memory, or a memory-mapped file."""

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from service.inference.runtime.cores import usable_cores
from training.data.cache.entry import CachedPixels
from training.fit.cached.crops import Crops, Integers
from training.fit.cached.resampling import resample

UPLOAD_BYTES = 256 * 2**20
PIECE_IMAGES = 8
"""Images of one task of a thread. More tasks would slow down the thread that trains."""


class Prepared(Protocol):
    """A batch whose pixels have been read; it can be finished on the device."""

    def finish(self) -> Tensor:
        """The resized crops, float32[N, 3, S, S] in 0..255."""
        ...


class PixelSource(Protocol):
    """Decoded images that crops can be cut from."""

    pixels: CachedPixels
    device: torch.device
    ahead: int
    """How many batches a thread should prepare in advance."""

    def prepare(self, rows: Integers, crops: Crops, out_px: int) -> Prepared:
        """Read the pixels of crops. This uses no random numbers."""
        ...


class DevicePixels:
    """All pixels in the memory of the device, one image after another."""

    ahead = 0

    def __init__(self, pixels: CachedPixels, device: torch.device) -> None:
        self.pixels, self.device = pixels, device
        lengths = [len(part) for part in pixels.parts]
        starts = np.cumsum([0, *lengths])
        # The last row of the last image is read as if it were as wide as the widest.
        spare = 3 * int(pixels.sizes[:, 1].max(initial=0))
        self.flat = torch.zeros(int(starts[-1]) + spare, dtype=torch.uint8, device=device)
        for part, start in zip(pixels.parts, starts, strict=False):
            for at in range(0, len(part), UPLOAD_BYTES):
                piece = torch.from_numpy(np.array(part[at : at + UPLOAD_BYTES]))
                self.flat[start + at : start + at + len(piece)] = piece.to(device)
        self.offsets = starts[pixels.table[:, 0]] + pixels.table[:, 1]

    def prepare(self, rows: Integers, crops: Crops, out_px: int) -> "_OnDevice":
        left, top, right, bottom = crops.bounds.T
        lines = int((bottom - top).max())
        length = int((right - left).max())
        widths = self.pixels.sizes[rows, 1]
        down = np.minimum(np.arange(lines), (bottom - top - 1)[:, None]) + top[:, None]
        starts = self.offsets[rows, None] + 3 * (down * widths[:, None] + left[:, None])
        index = sent(torch.from_numpy(starts), self.device)
        windows = self.flat.unfold(0, 3 * length, 1)  # a view: every place where a line can start
        found = windows[index].view(len(rows), lines, length, 3)
        return _OnDevice(found, crops, out_px)


class _OnDevice:
    def __init__(self, pixels: Tensor, crops: Crops, out_px: int) -> None:
        self.pixels, self.crops, self.out_px = pixels, crops, out_px

    def finish(self) -> Tensor:
        device = self.pixels.device
        boxes = np.where(self.crops.flips[:, None], self.crops.boxes[:, [2, 1, 0, 3]],
                         self.crops.boxes)  # fmt: skip
        both = torch.from_numpy(np.stack([boxes, self.crops.bounds]).astype(np.float32))
        boxes_there, bounds = sent(both, device)
        return resample(self.pixels, boxes_there, bounds, self.out_px)


class FilePixels:
    """Pixels in a memory-mapped file. A GPU gets the crops of a batch and resizes them."""

    def __init__(self, pixels: CachedPixels, device: torch.device) -> None:
        self.pixels, self.device = pixels, device
        self.ahead = 2 if device.type == "cuda" else 0
        self.pool = ThreadPoolExecutor(usable_cores(), "crops")

    def prepare(self, rows: Integers, crops: Crops, out_px: int) -> Prepared:
        if self.device.type == "cuda":
            return self._cut(rows, crops, out_px)
        return _Resized(self._resize(rows, crops, out_px), self.device)

    def _cut(self, rows: Integers, crops: Crops, out_px: int) -> "_Cut":
        left, top, right, bottom = crops.bounds.T
        shape = len(rows), int((bottom - top).max()), int((right - left).max()), 3
        on_gpu = self.device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(self.device)  # a thread begins with the first GPU
        # What is beyond an image stays as it is in memory: it has no weight.
        found = torch.empty(shape, dtype=torch.uint8, pin_memory=on_gpu)
        target = found.numpy()

        def fill(first: int) -> None:
            for index in range(first, min(first + PIECE_IMAGES, len(rows))):
                cut = self._inside(rows[index], crops.bounds[index])
                target[index, : cut.shape[0], : cut.shape[1]] = cut

        list(self.pool.map(fill, range(0, len(rows), PIECE_IMAGES)))
        return _Cut(found, crops, out_px, self.device)

    def _resize(self, rows: Integers, crops: Crops, out_px: int) -> NDArray[np.uint8]:
        made = np.empty((len(rows), out_px, out_px, 3), np.uint8)

        def fill(first: int) -> None:
            for index in range(first, min(first + PIECE_IMAGES, len(rows))):
                cut = self._inside(rows[index], crops.bounds[index])
                x, y = crops.bounds[index, :2]
                box = tuple(crops.boxes[index] - [x, y, x, y])
                image = Image.fromarray(np.ascontiguousarray(cut))
                small = image.resize((out_px, out_px), Image.Resampling.BILINEAR, box=box)
                resized = np.asarray(small)
                made[index] = resized[:, ::-1] if crops.flips[index] else resized

        list(self.pool.map(fill, range(0, len(rows), PIECE_IMAGES)))
        return made

    def _inside(self, row: int, bounds: Integers) -> NDArray[np.uint8]:
        left, top, right, bottom = bounds
        return self.pixels.image(row)[top:bottom, left:right]


class _Cut:
    def __init__(self, pixels: Tensor, crops: Crops, out_px: int, device: torch.device) -> None:
        self.pixels, self.crops, self.out_px, self.device = pixels, crops, out_px, device

    def finish(self) -> Tensor:
        there = self.pixels.to(self.device, non_blocking=True)
        return _OnDevice(there, self.crops, self.out_px).finish()


class _Resized:
    def __init__(self, pixels: NDArray[np.uint8], device: torch.device) -> None:
        self.pixels, self.device = pixels, device

    def finish(self) -> Tensor:
        there = torch.from_numpy(self.pixels).to(self.device)
        return there.permute(0, 3, 1, 2).float()  # channels last


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a small tensor to the device without waiting for it."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
