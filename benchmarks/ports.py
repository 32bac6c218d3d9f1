"""A free port for a server that takes its port as an argument."""

import socket


def free_port() -> int:
    """A port of this machine that the system gives to nobody else for a minute.

    A closed connection leaves the port in TIME_WAIT. A server may listen on it, and a search for
    any free port, such as that of another process, passes it over.
    """
    with socket.socket() as probe, socket.socket() as peer:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        probe.listen(1)
        peer.connect(probe.getsockname())
        accepted, _ = probe.accept()
        accepted.close()  # the side that closes first keeps the port
        return int(probe.getsockname()[1])
