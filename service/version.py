"""Versions of the code that runs and of its libraries."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

NOT_INSTALLED = "0"


def own_version() -> str:
    """As it was installed; "0" where the source runs without that: in a bento, or a checkout."""
    return installed(["quincunx"]).get("quincunx", NOT_INSTALLED)


def installed(names: Iterable[str]) -> dict[str, str]:
    """The version of each of the named libraries; those that are not installed are left out."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
