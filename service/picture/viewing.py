"""Show a prediction to the person at this machine."""

import sys
from typing import TYPE_CHECKING, Any

from service.errors import UsageError

if TYPE_CHECKING:
    from service.inference.prediction import Prediction


def show(prediction: "Prediction") -> None:
    """In a notebook as HTML, elsewhere in the system's viewer of images.

    Raises:
        UsageError: this machine has no viewer.
    """
    if (display := _notebook_display()) is not None:
        display(prediction)
        return
    from PIL import ImageShow

    if not ImageShow.show(prediction.picture()):
        raise UsageError(
            "no program on this machine shows images; save the picture: "
            'prediction.picture().save("answer.png")'
        )


def _notebook_display() -> Any:
    """IPython's `display` if this process is the kernel of a notebook, else None."""
    ipython: Any = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    if ipython is None or getattr(shell, "kernel", None) is None:
        return None
    display: Any = ipython.display.display
    return display
