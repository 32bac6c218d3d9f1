"""Messages between two processes, one of which may die at any time."""

from multiprocessing.connection import Connection
from typing import Any


def receive(pipe: Connection) -> Any:
    """The next message.

    Raises:
        EOFError: the other process has ended, perhaps in the middle of a message.
        ConnectionError: the same.
    """
    try:
        return pipe.recv()
    except ConnectionError:
        raise
    except OSError as error:  # so `multiprocessing` reports a message that breaks off
        raise EOFError(str(error)) from error
