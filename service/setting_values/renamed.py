"""Environment variables that have a new name. The old name works for one release, with a warning.

To rename a setting, rename the field in `service/settings.py` and add one line to `RENAMED`. Remove
the line in the release after the next.
"""

from collections.abc import Mapping

from service.errors import UsageError

RENAMED = {
    "QUINCUNX_LONE_THREADS": "QUINCUNX_LATENCY_THREADS",
}
"""Old name -> new name."""


def with_new_names(environment: Mapping[str, str]) -> dict[str, str]:
    """The same environment, with the value of every old name under its new name.

    Raises:
        UsageError: an old and its new name are both set.
    """
    renamed = dict(environment)
    for old, new in RENAMED.items():
        if old not in renamed:
            continue
        if new in renamed:
            raise UsageError(f"{old} is now called {new}, and both are set: remove {old}")
        renamed[new] = renamed.pop(old)
    return renamed


def rename_warnings(environment: Mapping[str, str]) -> list[str]:
    """One warning for every old name in `environment`."""
    return [
        f"{old} is now called {new}; the old name stops working in the next release"
        for old, new in RENAMED.items()
        if old in environment
    ]
