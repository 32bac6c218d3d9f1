"""A stand-in for a session gives no embeddings, unless it says how."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.inference.runtime.session import Output


class NoEmbedding:
    """The half of an `InferenceBackend` that most stand-ins do not need."""

    def run_with_embedding(
        self, views: Any, output: Output, windows: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Fail: nobody asked for an embedding."""
        raise AssertionError("an embedding was asked for")
