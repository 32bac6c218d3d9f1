"""Check the name that a request is for: a defence against DNS rebinding.

A web page can make its own name resolve to 127.0.0.1. Then the browser takes a server there for the
page's own server, but still sends the name of the page as `Host`. IP addresses, and names that
cannot be registered, are safe, because no foreign page can have them.
"""

import ipaddress
import re
from functools import lru_cache

ANY = "*"
LOCAL = "localhost"
_HOST = re.compile(r"(?P<name>\[[0-9A-Za-z:.%]+\]|[^\s:/@\[\]]*)(?::[0-9]{0,5})?")
PRIVATE_SUFFIXES = (".localhost", ".internal", ".svc", ".cluster.local")
"""Names of RFC 6761, ICANN's domain for private use, and the names of Kubernetes."""


class Hosts:
    """The names of a server."""

    def __init__(self, names: tuple[str, ...]) -> None:
        """`*` allows every name, `*.example.com` the names below it. Empty: private names only."""
        self._any = ANY in names
        self._names = frozenset(name.lower() for name in names)
        self._suffixes = tuple(name[1:].lower() for name in names if name.startswith("*."))
        self._allows = lru_cache(256)(self._look)

    def allows(self, host: str) -> bool:
        """Whether a request may carry this `Host` header."""
        return self._any or self._allows(host)

    def _look(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["name"].lower().removesuffix(".")
        return (
            name in self._names
            or name.endswith((*PRIVATE_SUFFIXES, *self._suffixes))
            or _is_private(name)
        )


def _is_private(name: str) -> bool:
    """Whether a name is an address, or one without a dot: a machine, a container or a service."""
    if "." not in name and not name.startswith("["):
        return True
    try:
        ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
