"""The outcome of every request, as columns. All load figures are computed from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ANSWERED, REFUSED, FAILED = 200, 429, 0
"""`status` of a request: FAILED is any other status, a broken connection or a time-out."""


@dataclass(frozen=True)
class Records:
    """One element per request; instants are seconds from the start of the step."""

    due_s: NDArray[np.float64]
    sent_s: NDArray[np.float64]
    done_s: NDArray[np.float64]
    status: NDArray[np.int16]
    mode: NDArray[np.int16]
    waited: NDArray[np.bool_]
    """Whether all connections of its worker were busy."""

    def __len__(self) -> int:
        return len(self.due_s)

    @classmethod
    def joined(cls, parts: Sequence["Records"]) -> "Records":
        """The records of several workers, in the order of their due times."""
        due_s = np.concatenate([part.due_s for part in parts])
        order = np.argsort(due_s, kind="stable")
        return cls(
            due_s[order],
            np.concatenate([part.sent_s for part in parts])[order],
            np.concatenate([part.done_s for part in parts])[order],
            np.concatenate([part.status for part in parts])[order],
            np.concatenate([part.mode for part in parts])[order],
            np.concatenate([part.waited for part in parts])[order],
        )

    def where(self, chosen: NDArray[np.bool_]) -> "Records":
        return Records(
            self.due_s[chosen],
            self.sent_s[chosen],
            self.done_s[chosen],
            self.status[chosen],
            self.mode[chosen],
            self.waited[chosen],
        )
