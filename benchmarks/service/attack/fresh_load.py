"""A load of single requests, each on a connection of its own, so that any worker may take it."""

import http.client
import json
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

TIMEOUT_S = 60.0


def post(
    url: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, object]]:
    """One request; the status, and the JSON of the answer.

    Raises:
        OSError, http.client.HTTPException: the connection broke.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", path, body, headers or {})
        response = connection.getresponse()
        data = response.read()
    finally:
        connection.close()
    content = json.loads(data) if data.startswith(b"{") else {}
    return response.status, content


class FreshLoad:
    """Users who ask one image after another until the block ends."""

    def __init__(self, url: str, image: bytes, users: int = 4, path: str = "/classify") -> None:
        self.statuses: Counter[int] = Counter()
        self.models: Counter[str] = Counter()
        """Versions that the answers name."""
        self.broken = 0
        """Requests whose connection broke."""
        self.slowest_s = 0.0
        self._url = url
        self._image = image
        self._path = path
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(users)]

    @property
    def answered(self) -> int:
        """All that were answered, whatever the status."""
        return self.statuses.total()

    def wait_for(self, more: int, limit_s: float = 120.0) -> None:
        """Wait until so many more are answered.

        Raises:
            TimeoutError: they are not.
        """
        until, deadline = self.answered + more, time.monotonic() + limit_s
        while self.answered < until:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{until - self.answered} of {more} requests are not answered")
            time.sleep(0.02)

    def __enter__(self) -> "FreshLoad":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._over.is_set():
            started = time.monotonic()
            try:
                headers = {"Content-Type": "application/octet-stream"}
                status, content = post(self._url, self._path, self._image, headers)
            except (OSError, http.client.HTTPException):
                with self._lock:
                    self.broken += 1
                continue
            with self._lock:
                self.statuses[status] += 1
                self.models[str(content.get("model", ""))] += 1
                self.slowest_s = max(self.slowest_s, time.monotonic() - started)
