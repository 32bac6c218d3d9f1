"""Recognise the environment variables that Kubernetes and Docker set for services.

A Kubernetes Service called `quincunx` puts `QUINCUNX_SERVICE_HOST`, `QUINCUNX_PORT` and others into
every pod of its namespace, unless the pod says `enableServiceLinks: false`. Docker's `--link` does
the same. https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""

import ipaddress
import re
from collections.abc import Mapping

_HOST, _PORT = "_SERVICE_HOST", "_PORT"
_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+:[0-9]+")
_OF_A_SERVICE = re.compile(
    r"SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?"
)
_OF_A_CONTAINER = re.compile(r"NAME|ENV_.+")


def service_links(environment: Mapping[str, str], program: str) -> tuple[str, ...]:
    """The variables in `environment` that describe services called `program` or `program`-….

    A service has an address among its variables. `QUINCUNX_PORT=8080` alone is not a service, but a
    setting that does not exist. `program` is in capitals.
    """
    services = {name for name in map(_service, environment.items()) if name}
    ours = {name for name in services if name == program or name.startswith(f"{program}_")}
    return tuple(sorted({v for v in environment for name in ours if _is_of(v, name, environment)}))


def _service(variable: tuple[str, str]) -> str:
    """The service whose address a variable holds; empty if it holds no address."""
    name, value = variable
    if name.endswith(_HOST) and _is_ip(value):
        return name.removesuffix(_HOST)
    if name.endswith(_PORT) and _ADDRESS.fullmatch(value):
        return name.removesuffix(_PORT)
    return ""


def _is_of(variable: str, service: str, environment: Mapping[str, str]) -> bool:
    if not variable.startswith(f"{service}_"):
        return False
    rest = variable.removeprefix(f"{service}_")
    if _OF_A_SERVICE.fullmatch(rest):
        return True
    linked = environment.get(f"{service}_NAME", "").startswith("/")  # Docker: /CONTAINER/ALIAS
    return linked and _OF_A_CONTAINER.fullmatch(rest) is not None


def _is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
