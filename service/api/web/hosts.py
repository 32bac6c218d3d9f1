"""Which names a request may be for: a defence against DNS rebinding.

A web page can make its own name resolve to 127.0.0.1, and then talk to a server there as if it were
its own. The browser still sends the name of the page as `Host`. Addresses and names that nobody can
register are safe: a page of another origin cannot have them.
"""

import ipaddress
import re
from functools import lru_cache

ANY = "*"
LOCAL = "localhost"
_HOST = re.compile(r"(?P<name>\[[0-9A-Za-z:.%]+\]|[^\s:/@\[\]]*)(?::[0-9]{0,5})?")
PRIVATE_SUFFIXES = (".localhost", ".internal", ".svc", ".cluster.local")
"""RFC 6761, the domain that ICANN keeps for private use, and the names of Kubernetes."""


class Hosts:
    """The names of a server."""

    def __init__(self, names: tuple[str, ...]) -> None:
        """`*` allows any name, `*.example.com` the names below one. None of them: private ones."""
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
