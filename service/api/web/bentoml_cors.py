# pyright: reportMissingTypeStubs=false
"""Read the CORS origins of BentoML's configuration file. Its own middleware never sees our routes.

The setting is `QUINCUNX_CORS_ORIGINS`. The file counts if that is not set.
"""

from typing import Any

from bentoml._internal.configuration.containers import BentoMLContainer

from service.errors import UsageError
from service.settings import Settings, variable_of

PREFIX = "access_control_allow_"


def with_bentoml_cors(settings: Settings) -> Settings:
    """Return `settings`. If they name no origins, add those of BENTOML_CONFIG.

    Raises:
        UsageError: the file names origins in a form that `cors_origins` does not have.
    """
    cors: dict[str, Any] = BentoMLContainer.http.cors.get()
    if settings.cors_origins or not cors.get("enabled"):
        return settings
    origins = cors.get(f"{PREFIX}origins") or ()
    if cors.get(f"{PREFIX}origin_regex") or cors.get(f"{PREFIX}credentials") or not origins:
        raise UsageError(
            "BENTOML_CONFIG has a CORS setting that is not supported; name the origins in "
            f"{variable_of('cors_origins')}"
        )
    listed = [origins] if isinstance(origins, str) else list(origins)
    checked = Settings.from_environment({variable_of("cors_origins"): ",".join(listed)})
    return settings.model_copy(update={"cors_origins": checked.cors_origins})
