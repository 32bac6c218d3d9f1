"""HTTP/1.1: uvicorn's protocol, with the limits that a server without a proxy needs.

uvicorn expects a proxy in front of it. The proxy limits headers, idle connections, slow connections
and clients that do not read. `quincunx serve` may run without a proxy.
"""

from service.api.transport.connection import Connection
from service.api.transport.connections import Connections, Limits

__all__ = ["Connection", "Connections", "Limits"]
