"""Processes that share a server's memory with a test."""

import subprocess
import sys
from typing import Any

from service.api.server.shared_memory import Shared

OTHER_WORKER = """
import sys, time
from service.api.observability.ledger import Ledger
from service.api.observability.metrics import Metrics
from service.api.server.shared_memory import Shared
shared = Shared(int(sys.argv[1]))
slot = shared.claim()
metrics = Metrics(Ledger(shared, slot))
metrics.observer("m").admitted(180)
metrics.request("/classify", 200, 0.7)
print("counted", flush=True)
time.sleep(600)
"""


class Child:
    """A Python process that inherits the memory; its file descriptor is the first argument."""

    def __init__(self, script: str, shared: Shared, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, str(shared.fd), *arguments],
            pass_fds=(shared.fd,),
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, line: str) -> None:
        """Wait until the process has printed this line."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            if text.strip() == line:
                return
        raise AssertionError(f"the process ended without {line!r}")

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: Any) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
