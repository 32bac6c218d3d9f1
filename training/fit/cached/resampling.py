"""Resize a batch of crops by two matrix products, with Pillow's antialiased bilinear filter.

A row of the result is a weighted sum of rows, and a column one of columns. So a crop X becomes
A X Bᵀ. A and B hold the weights of a triangle filter that is as wide as a pixel of the result, but
never narrower than a pixel of the crop. On a GPU this is one product for a whole batch, whatever
the sizes of its images.
"""

import torch
from torch import Tensor


def resample(pixels: Tensor, boxes: Tensor, bounds: Tensor, out_px: int) -> Tensor:
    """Resize crops: uint8[N, H, W, 3] -> float32[N, 3, S, S] in 0..255, on one device.

    `pixels` holds the pixels inside `bounds` of every image, at the top left. Values beyond an
    image's own height and width are ignored. `boxes` and `bounds` are left, top, right and bottom,
    [N, 4], in pixels of the image. A box whose left is greater than its right mirrors.
    """
    count, height, width, _ = pixels.shape
    # Half precision holds every value of uint8 exactly, and its products are summed in float32.
    dtype = torch.float16 if pixels.is_cuda else torch.float32
    down = _weights(boxes[:, 1::2], bounds[:, 1::2], height, out_px).to(dtype)
    across = _weights(boxes[:, 0::2], bounds[:, 0::2], width, out_px).to(dtype)
    rows = torch.bmm(down, pixels.reshape(count, height, width * 3).to(dtype))  # [N, S, W * 3]
    planes = rows.view(count, out_px, width, 3).transpose(2, 3).reshape(count, out_px * 3, width)
    made = torch.bmm(planes, across.transpose(1, 2))  # [N, S * 3, S]: row, channel, column
    images = made.view(count, out_px, 3, out_px).transpose(1, 2)
    return images.to(torch.float32, memory_format=torch.channels_last)


def _weights(span: Tensor, bound: Tensor, length: int, out_px: int) -> Tensor:
    """The filter along one axis, float32[N, out_px, length]; the weights of a pixel sum to 1."""
    begin, end = bound[:, :1], bound[:, 1:]
    scale = (span[:, 1:] - span[:, :1]) / out_px
    steps = torch.arange(out_px, device=span.device, dtype=torch.float32) + 0.5
    centres = span[:, :1] + scale * steps - begin
    taps = torch.arange(length, device=span.device, dtype=torch.float32) + 0.5
    reach = scale.abs().clamp(min=1)[:, :, None]
    made = (1 - (centres[:, :, None] - taps).abs() / reach).clamp(min=0)
    made = made * (taps < end - begin)[:, None, :]
    return made / made.sum(dim=2, keepdim=True)
