"""Degrade under pressure: answer five crops with a cheaper mode, and say so in the answer."""

from service.api.options import RequestOptions
from service.api.server.model_set import Served
from service.errors import UsageError
from service.inference.tta.steps import check_options
from service.package.manifest import Mode
from service.settings import Settings

DEAR: tuple[Mode, ...] = ("five_crop", "ten_crop", "centre_dense")
PRESSURE = 0.25
"""Degrading begins at this share of the pressure at which requests are refused."""


def applied_mode(
    asked: RequestOptions, mode: Mode, served: Served, settings: Settings, timeout_s: float
) -> Mode:
    """The mode of the answer: `mode`, or under pressure the cheaper one of the settings."""
    cheaper = settings.degrade
    if cheaper == "off" or mode not in DEAR:
        return mode
    if served.batcher.admission.pressure(served.views(mode), timeout_s) < PRESSURE:
        return mode
    try:
        check_options(asked.in_mode(cheaper), served.predictor.model)
    except UsageError:
        return (
            mode  # an option does not fit the cheaper mode, or the model has no calibration for it
        )
    return cheaper
