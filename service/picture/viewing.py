"""Show a prediction to the person at this machine."""

import os
import sys
from typing import TYPE_CHECKING, Any

from service.errors import UsageError

if TYPE_CHECKING:
    from service.inference.prediction import Prediction


def show(prediction: "Prediction") -> None:
    """In a notebook as HTML, elsewhere in the system's viewer of images.

    Raises:
        UsageError: there is no viewer, or no screen.
    """
    if (display := _notebook_display()) is not None:
        display(prediction)
        return
    from PIL import ImageShow

    if not _has_screen() or not ImageShow.show(prediction.picture()):
        raise UsageError(
            "no program shows images here (a screen is needed); save the picture: "
            'prediction.picture().save("answer.png")'
        )


def _has_screen() -> bool:
    """Whether programs can open windows; Linux tells by variables."""
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _notebook_display() -> Any:
    """IPython's `display` if this process is the kernel of a notebook, else None."""
    ipython: Any = sys.modules.get("IPython")
    shell: Any = ipython.get_ipython() if ipython is not None else None
    if ipython is None or getattr(shell, "kernel", None) is None:
        return None
    display: Any = ipython.display.display
    return display
