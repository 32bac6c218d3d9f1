# pyright: reportMissingTypeStubs=false
"""CORS as BentoML's configuration file has it: BentoML's own middleware never sees our routes.

`QUINCUNX_CORS_ORIGINS` is the setting; the file counts where that is not set.
"""

from typing import Any

from bentoml._internal.configuration.containers import BentoMLContainer

from service.errors import UsageError
from service.settings import Settings, variable_of

PREFIX = "access_control_allow_"


def with_bentoml_cors(settings: Settings) -> Settings:
    """`settings`, with the origins of BENTOML_CONFIG where they name none.

    Raises:
        UsageError: the file has origins in a form that `cors_origins` has not.
    """
    cors: dict[str, Any] = BentoMLContainer.http.cors.get()
    if settings.cors_origins or not cors.get("enabled"):
        return settings
    origins = cors.get(f"{PREFIX}origins") or ()
    if cors.get(f"{PREFIX}origin_regex") or cors.get(f"{PREFIX}credentials") or not origins:
        raise UsageError(
            "BENTOML_CONFIG enables CORS in a way that is not served here; name the origins in "
            f"{variable_of('cors_origins')}"
        )
    listed = [origins] if isinstance(origins, str) else list(origins)
    checked = Settings.from_environment({variable_of("cors_origins"): ",".join(listed)})
    return settings.model_copy(update={"cors_origins": checked.cors_origins})
