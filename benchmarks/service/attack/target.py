"""The server under attack, as its attackers see it, and the requests that are well-formed."""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.service.malformed_cases import form

PATIENCE_S = 60.0
LIVEZ_EVERY_S = 0.02
ASK_EVERY_S = 0.1
ROUNDING = 1e-5
"""Sums of floats are rounded otherwise in batches of another size."""


@dataclass(frozen=True)
class Target:
    """A server on this machine, started to be attacked."""

    port: int
    model: str
    photo: bytes
    admin_key: str

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def infer(self) -> str:
        return f"/v2/models/{self.model}/infer"

    def connect(self, receive_bytes: int = 0) -> socket.socket:
        """A connection; with a small buffer an answer that is not read stays at the server."""
        connection = socket.socket()
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(PATIENCE_S)
        try:
            connection.connect(("127.0.0.1", self.port))
        except OSError:
            connection.close()
            raise
        return connection

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


Query = Callable[[], tuple[int, list[float]]]


def queries(target: Target) -> dict[str, Query]:
    """Well-formed requests: each gives a status and the probabilities of the photo."""
    body, headers = form(target.photo)
    size = {"binary_data_size": len(target.photo) + 4}
    entry = {"name": "encoded", "datatype": "BYTES", "shape": [1], "parameters": size}
    head = json.dumps({"inputs": [entry], "parameters": {"tta": "five_crop"}}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    tensor = head + len(target.photo).to_bytes(4, "little") + target.photo

    def classify() -> tuple[int, list[float]]:
        path = "/classify?tta=five_crop&top_k=1000"
        status, answer = target.ask("POST", path, body, headers)
        if status != 200:
            return status, []
        found = sorted(json.loads(answer)["predictions"], key=lambda one: one["index"])
        return status, [one["probability"] for one in found]

    def infer() -> tuple[int, list[float]]:
        status, answer = target.ask("POST", target.infer, tensor, length)
        return status, json.loads(answer)["outputs"][0]["data"] if status == 200 else []

    return {"/classify": classify, "/v2 infer": infer}


@dataclass
class Seen:
    """What well-formed requests and the probe of `/livez` saw during one attack."""

    livez_s: list[float] = field(default_factory=list[float])
    statuses: Counter[str] = field(default_factory=Counter[str])
    """Outcomes of well-formed requests: a status, `wrong answer`, or the error of a connection."""

    @property
    def answered(self) -> int:
        return self.statuses["200"]

    @property
    def refused(self) -> int:
        """With 429, which tells the client when to come again."""
        return self.statuses["429"]

    @property
    def failed(self) -> int:
        return self.statuses.total() - self.answered - self.refused


class Bystanders:
    """Asks for `/livez` and for the photo's class, again and again, until the block ends."""

    def __init__(self, target: Target, expected: list[float]) -> None:
        self.seen = Seen()
        self._target = target
        self._expected = np.array(expected)
        self._over = threading.Event()
        asking = [(self._watch, ())] + [(self._use, (query,)) for query in queries(target).values()]
        self._threads = [threading.Thread(target=run, args=given) for run, given in asking]

    def __enter__(self) -> Seen:
        for thread in self._threads:
            thread.start()
        return self.seen

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _watch(self) -> None:
        while not self._over.wait(LIVEZ_EVERY_S):
            started = time.monotonic()
            with suppress(OSError, http.client.HTTPException):
                self._target.ask("GET", "/livez")
            self.seen.livez_s.append(time.monotonic() - started)

    def _use(self, query: Query) -> None:
        while not self._over.wait(ASK_EVERY_S):
            self.seen.statuses[self._outcome(query)] += 1

    def _outcome(self, query: Query) -> str:
        try:
            status, probabilities = query()
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        if status == 200 and not np.allclose(probabilities, self._expected, 0, ROUNDING):
            return "wrong answer"
        return str(status)


def json_of(value: Any) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()
