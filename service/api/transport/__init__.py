"""HTTP/1.1 on the wire: uvicorn's protocol, with the limits that a server on its own needs.

uvicorn expects a proxy in front that bounds headers, idle and slow connections, and clients that do
not read. `quincunx serve` is used without one too.
"""

from service.api.transport.connection import Connection
from service.api.transport.connections import Connections, Limits

__all__ = ["Connection", "Connections", "Limits"]
