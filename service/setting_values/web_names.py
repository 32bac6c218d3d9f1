"""Check host names and origins of web pages in settings."""

import re

HOST = re.compile(r"\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


def split_names(text: str) -> tuple[str, ...]:
    """Split a list at its commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def check_hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return `names` if `service.api.web.hosts.Hosts` can read each of them.

    Raises:
        ValueError: it cannot read one.
    """
    return _each(names, HOST, "a host name without scheme and port, or *.example.com, or *")


def check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    """Return `origins` if each is an origin that a browser could send, or `*`.

    Raises:
        ValueError: one is neither.
    """
    return _each(origins, ORIGIN, "an origin like https://app.example.com, without a path, or *")


def _each(values: tuple[str, ...], pattern: re.Pattern[str], what: str) -> tuple[str, ...]:
    for value in values:
        if not pattern.fullmatch(value):
            raise ValueError(f"{value!r} is not {what}")
    return values
