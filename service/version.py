"""The version of the code that runs."""

from importlib.metadata import PackageNotFoundError, version

NOT_INSTALLED = "0"


def own_version() -> str:
    """As it was installed; "0" where the source runs without that: in a bento, or a checkout."""
    try:
        return version("quincunx")
    except PackageNotFoundError:
        return NOT_INSTALLED
