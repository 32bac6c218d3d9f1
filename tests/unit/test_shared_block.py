"""Memory that two processes of a run share."""

import os

import numpy as np

from service.scoring.processes.block import SharedBlock


def test_a_block_grows_and_gives_arrays_back() -> None:
    ours = SharedBlock.create()
    theirs = SharedBlock(os.dup(ours.fd))
    for count in (1, 3_000_000, 7):
        arrays = [np.arange(count, dtype=np.uint8), np.ones((2, 3), np.float32), np.empty((0, 4))]
        places = ours.write(arrays)
        for place, array in zip(places, arrays, strict=True):
            np.testing.assert_array_equal(theirs.read(place), array)
            assert theirs.read(place).dtype == array.dtype
    theirs.close()
    ours.close()
