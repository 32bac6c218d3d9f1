"""Decoded training images in a memory-mapped file: made once, used by every later run.

A cache folder has one entry for each pair of (image files, settings of decoding):

    cache/KEY/facts.json     what the entry holds
    cache/KEY/table.npy      a row for each image: where its pixels are, and its sizes
    cache/KEY/part-*.bin     pixels, uint8[h, w, 3] after uint8[h, w, 3]

No torch here: processes that decode import this package.
"""

from typing import Literal

CacheMode = Literal["auto", "device", "memory", "off"]
"""Where training keeps decoded images. `auto` chooses."""
