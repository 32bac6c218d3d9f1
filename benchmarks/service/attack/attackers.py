"""Attacks on a server, each of which ends itself at a given time.

An attacker counts what it sent and ignores what comes back: whether the server holds is seen by
others, who ask well-formed questions meanwhile.
"""

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import tritonclient.http.aio as triton
from tritonclient.utils import InferenceServerException

from benchmarks.service.attack.bodies import MULTIPART, bombs
from benchmarks.service.attack.target import Target
from benchmarks.service.malformed import send_all

Attack = Callable[[Target, float], int]
"""Attack until this time of `time.monotonic`; how many requests or connections it took."""

AT_ONCE = 8
MALFORMED = 25
SLOW, IDLE, UPLOADS, UNREAD, SWARM = 200, 1000, 100, 64, 500
DOCUMENTS = 16
PIPELINED = 20_000
PAUSE_S = 0.02
UPLOAD_BYTES = 20_000_000
FLOOD_BYTES = 50_000_000


def malformed(target: Target, until: float) -> int:
    """Requests drawn by hypothesis, as `benchmarks.service malformed` has them."""
    sent = 0
    for seed in itertools.count():
        if time.monotonic() > until:
            break
        sent += send_all(f"http://{target.host}", target.model, MALFORMED, seed).requests
    return sent


def bodies(target: Target, until: float) -> int:
    """Compressed JSON and forms, and images whose pixels take more than their bytes."""
    return _in_turn(
        [lambda b=b: target.ask("POST", b.path, b.body, b.headers) for b in bombs(target)], until
    )


def headers(target: Target, until: float) -> int:
    """Heads that do not end: long ones, many of them, long targets."""
    line = b"POST /classify HTTP/1.1\r\nHost: x\r\n"

    def flood(start: bytes, repeated: bytes) -> None:
        with target.connect() as connection:
            connection.sendall(start)
            for _ in range(FLOOD_BYTES // len(repeated)):
                connection.sendall(repeated)

    return _in_turn(
        [
            lambda: flood(line, b"A: " + b"b" * 60_000 + b"\r\n"),
            lambda: flood(line, b"A: b\r\n" * 10_000),
            lambda: flood(line + b"A: ", b"b" * 60_000),
            lambda: flood(b"GET /", b"a" * 60_000),
            lambda: flood(line + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 60_000),
        ],
        until,
    )


def slow_bodies(target: Target, until: float) -> int:
    """Bodies of one byte each half second."""
    head = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    return _hold(target, until, SLOW, head + b"Content-Length: 100000\r\n\r\n", drip=b"x")


def slow_heads(target: Target, until: float) -> int:
    """Heads of one header each half second."""
    return _hold(target, until, SLOW, b"GET / HTTP/1.1\r\nHost: x\r\n", drip=b"A: b\r\n")


def silent_connections(target: Target, until: float) -> int:
    """Connections on which nothing is said."""
    return _hold(target, until, IDLE, b"")


def unfinished_uploads(target: Target, until: float) -> int:
    """Bodies that stop just before their end."""
    head = b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    length = b"Content-Length: %d\r\n\r\n" % UPLOAD_BYTES
    return _hold(target, until, UPLOADS, head + length + bytes(UPLOAD_BYTES - 1))


def unread_answers(target: Target, until: float) -> int:
    """Long answers, asked for again and again on one connection and never read."""
    part = b'--b\r\nContent-Disposition: form-data; name="images"; filename="x"\r\n\r\n%s\r\n'
    body = part % target.photo * 2 + b"--b--\r\n"
    head = (
        "POST /classify_batch?tta=none&include=heatmap,views HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: {MULTIPART['Content-Type']}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    documents = b"GET /docs.json HTTP/1.1\r\nHost: x\r\n\r\n" * DOCUMENTS
    return _hold(target, until, UNREAD, head.encode() + body + documents, receive_bytes=4096)


def swarm(target: Target, until: float) -> int:
    """500 users of tritonclient at once, half of them with pixels as JSON."""
    return asyncio.run(_swarm(target, until))


def pipelined(target: Target, until: float) -> int:
    """Thousands of requests in one packet. At full speed it would be a flood like any other."""

    def flood() -> None:
        with target.connect() as connection, suppress(OSError):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * PIPELINED)
        time.sleep(PAUSE_S)

    return _in_turn([flood], until, at_once=1)


def reloads(target: Target, until: float) -> int:
    """The same packages again and again."""
    key = {"X-API-Key": target.admin_key}
    return _in_turn([lambda: target.ask("POST", "/models/reload", b"", key)], until, at_once=1)


ATTACKS: dict[str, Attack] = {
    "malformed requests": malformed,
    "dear bodies": bodies,
    "endless headers": headers,
    "slow bodies": slow_bodies,
    "slow heads": slow_heads,
    "silent connections": silent_connections,
    "unfinished uploads": unfinished_uploads,
    "unread answers": unread_answers,
    "pipelined requests": pipelined,
    "tritonclient swarm": swarm,
    "reloads": reloads,
}


def _in_turn(asks: list[Callable[[], Any]], until: float, at_once: int = AT_ONCE) -> int:
    """Send requests one after the other, in `at_once` threads."""
    turns = itertools.cycle(asks)
    lock = threading.Lock()
    sent = itertools.count()

    def run() -> None:
        while time.monotonic() < until:
            with lock:
                ask = next(turns)
                next(sent)
            with suppress(Exception):  # the server may hang up: that is its good right
                ask()

    with ThreadPoolExecutor(at_once) as pool:
        for _ in range(at_once):
            pool.submit(run)
    return next(sent)


def _hold(
    target: Target, until: float, count: int, start: bytes, *,
    drip: bytes = b"", receive_bytes: int = 0,
) -> int:  # fmt: skip
    """Open connections, send `start` and then `drip` now and then, and hold them to the end."""
    opened = 0
    with ExitStack() as stack:
        held: list[socket.socket] = []
        for _ in range(count):
            if time.monotonic() > until:
                break
            with suppress(OSError):
                connection = stack.enter_context(target.connect(receive_bytes))
                opened += 1
                held.append(connection)
                connection.settimeout(2)  # a server that reads no more is left alone
                connection.sendall(start)
        while time.monotonic() < until:
            time.sleep(0.5)
            for connection in held if drip else ():
                with suppress(OSError):
                    connection.sendall(drip)
    return opened


async def _swarm(target: Target, until: float) -> int:
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    as_json = triton.InferInput("images", list(pixels.shape), "UINT8")
    as_json.set_data_from_numpy(pixels, binary_data=False)
    as_bytes = triton.InferInput("encoded", [1], "BYTES")
    as_bytes.set_data_from_numpy(np.array([target.photo], np.object_))
    sent = 0

    async def user(index: int, client: Any) -> None:
        nonlocal sent
        while time.monotonic() < until:
            sent += 1
            with suppress(InferenceServerException, OSError, asyncio.TimeoutError):
                await client.infer(target.model, [as_json if index % 2 else as_bytes])
            await asyncio.sleep(0.01)

    async with triton.InferenceServerClient(target.host, conn_limit=SWARM) as client:
        await asyncio.gather(*(user(index, client) for index in range(SWARM)))
    return sent
