"""One client's connection: uvicorn's protocol, with limits on time, heads and unread answers."""

import asyncio
from asyncio.events import TimerHandle
from typing import Any, ClassVar

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from service.api.transport.connections import Connections, Reason
from service.api.transport.counting import Counting
from service.api.transport.lingering import Lingering
from service.api.transport.unsent import Unsent
from service.errors import QuincunxError, RequestTimeout, TooManyConnections, UsageError

LINGER_S = 5.0
"""After the last answer, input is read and discarded for this long. If a connection is closed with
unread input, it is reset, and the client may lose the answer."""
DRAIN_S = 30.0
"""After an answer, the rest of its body is read and discarded for this long. Then the connection
goes on."""
FRAMING = (b"content-length", b"transfer-encoding")


class Connection(HttpToolsProtocol):
    """The protocol object that uvicorn makes for each connection.

    Offers to upgrade are ignored, as RFC 9110 allows: the request is answered over HTTP/1.1.
    """

    others: ClassVar[Connections]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = self.others.limits
        self.timeout_keep_alive = self._limits.keep_alive_s  # type: ignore[assignment]
        # The request guard logs requests. uvicorn would make the text of a line that nobody gets.
        self.access_log = False
        self._in_head = True
        """Whether the next byte belongs to a head. If not, it belongs to a body."""
        self._begun = False
        """Whether a byte of this head has arrived."""
        self._counting = Counting(self._limits)
        self._advanced = False
        """Whether the parser passed a head or a part of a body since the last data."""
        self._stuck_bytes = 0
        """Bytes since then."""
        self._upgrading = False
        """Whether the parser skips a body, because it takes the body for another protocol."""
        self._priming = False
        """Whether the parser reads a head that is already known."""
        self._ended = False
        """Whether the last answer was sent, or is next. Input is then read and discarded."""
        self._owed: QuincunxError | None = None
        """An answer that has to wait for the one before it."""
        self._deadline: TimerHandle | None = None
        self._answering: RequestResponseCycle | None = None
        """The request that the application works on; `cycle` is the newest request."""

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.others.counted(len(self.connections))
        self._unsent = Unsent(transport, self.others)
        if len(self.connections) > self._limits.max_connections and not self.others.evict_one():
            self._turn_away()
            return
        self.others.idle(self)
        self._arm(self._limits.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self.others.busy(self)
        self._disarm()
        self._unsent.stop()
        answering: Any = self._answering
        if answering is not None and not answering.response_complete:
            answering.disconnected = True
            answering.message_event.set()
        super().connection_lost(exc)
        self.others.counted(len(self.connections))

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client sends no more. It may still read the answers to its requests."""
        if self._in_head and self._is_busy() and self.scheme == "http":
            self.cycle.keep_alive = False
            return True
        return None

    def evict(self) -> None:
        """Close a connection that waits for a request, to make room for another."""
        self._close("evicted")

    def shutdown(self) -> None:
        super().shutdown()
        self._unsent.end()

    def _turn_away(self) -> None:
        self.others.close("full")
        limit = self._limits.max_connections
        text = f"{limit} connections are open, which is the limit (QUINCUNX_MAX_CONNECTIONS)"
        self._answer(TooManyConnections(text))
        self.transport.close()
        self._ended = True

    # What arrives

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._unset_keepalive_if_required()
        self._advanced = False
        rest: bytes | None = data
        try:
            while rest is not None:
                rest = self._feed(rest)
            self._stuck_bytes = 0 if self._advanced else self._stuck_bytes + len(data)
            self._counting.raw(self._stuck_bytes)
        except httptools.HttpParserError as error:
            # The parser replaces an error of its callbacks by an error of its own.
            self._fail(self._counting.error or UsageError(f"the request is not HTTP/1.1: {error}"))
        except QuincunxError as error:
            self._fail(error)
        else:
            self._wait()

    def _feed(self, data: bytes) -> bytes | None:
        """Parse `data`. Returns the rest if the parser stopped at an offer to upgrade."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._ignore_upgrade()
            return data[offer.args[0] :]
        return None

    def _ignore_upgrade(self) -> None:
        """Go on with a parser that has not seen the offer, at the body of the same request."""
        self._upgrading = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        if self._in_head:  # the request has no body
            return
        head = [b"POST / HTTP/1.1\r\n"]
        head += [b"%s: %s\r\n" % header for header in self.headers if header[0] in FRAMING]
        self._priming = True
        try:
            self.parser.feed_data(b"".join([*head, b"\r\n"]))
        finally:
            self._priming = False

    def _should_upgrade(self) -> bool:
        return False

    # What the parser finds

    def on_message_begin(self) -> None:
        if not self._priming:
            super().on_message_begin()
            self._begun = True
            self._counting = Counting(self._limits)

    def on_url(self, url: bytes) -> None:
        if not self._priming:
            super().on_url(url)  # first, because the path decides the shape of a refusal
            self._counting.target(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head and not self._priming:  # trailers are not read
            self._counting.header(name, value)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._priming:
            return
        if self._is_busy():
            self._counting.waiting(len(self.pipeline) + 1)
        super().on_headers_complete()
        self._in_head, self._begun, self._advanced = False, False, True
        self._disarm()
        self.others.busy(self)
        self._upgrading = self.parser.should_upgrade() and _has_body(self.headers)
        if not self.cycle.keep_alive:
            own: Any = Lingering(self.transport, self._close_after_answer)
            self.cycle.transport = own

    def on_chunk_header(self) -> None:
        self._counting.chunk()

    def on_body(self, body: bytes) -> None:
        self._advanced = True
        self._counting.body(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._upgrading:
            self._in_head, self._advanced = True, True
            self._disarm()
            super().on_message_complete()

    # What is answered

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self._unsent.watch()
        if self._owed is not None and not self.pipeline:
            error, self._owed = self._owed, None
            self._finish(error)
        if self._ended and not self.pipeline:
            self.server_state.total_requests += 1
            return
        super().on_response_complete()
        if not self._is_busy() and not self.transport.is_closing():
            self.others.idle(self)
        self._wait()

    def _is_busy(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _fail(self, error: QuincunxError) -> None:
        """The parser gave up: answer as the protocol allows now, and read no more."""
        self._ended = True
        self._disarm()
        if self._in_head and self._is_busy():
            self._owed = error
        elif self._in_head:
            self._finish(error)
        elif self.cycle.response_started or self.pipeline:
            self.transport.close()  # it is the body of a request that has its answer
        else:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self._finish(error)

    def _finish(self, error: QuincunxError) -> None:
        self._answer(error)
        self._close_gently()

    def _answer(self, error: QuincunxError) -> None:
        if self.transport.is_closing():
            return
        target = self.url if self._begun or not self._in_head else b""
        response = self.others.refusal(target.partition(b"?")[0].decode("latin-1"), error)
        lines = [STATUS_LINE[response.status_code]]
        for header in (*self.server_state.default_headers, *response.raw_headers):
            lines.append(b"%s: %s\r\n" % header)
        self.transport.write(b"".join([*lines, b"connection: close\r\n\r\n", response.body]))

    def _close_after_answer(self) -> None:
        """Close now if the whole request is here. If not, read on first."""
        self._ended = True
        if self._in_head:
            self.transport.close()
        else:
            self._close_gently()

    def _close_gently(self) -> None:
        """Send the pending answers, and read on for a while before closing."""
        self._ended = True
        self._disarm()
        self._unset_keepalive_if_required()
        if self.transport.is_closing():
            return
        self._unsent.watch()
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        self.flow.resume_reading()
        self.others.idle(self)
        self._deadline = self.loop.call_later(LINGER_S, self.transport.abort)

    # Time

    def _wait(self) -> None:
        """Set the timer for the next action of the client, if the server waits for one."""
        if self._is_busy() or self._ended or self._deadline is not None:
            return
        if not self._in_head:  # the rest of a body that is answered already
            self._arm(DRAIN_S)
        elif self._begun or self._stuck_bytes:
            self._unset_keepalive_if_required()
            self._arm(self._limits.header_timeout_s)
        elif self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _arm(self, seconds: float) -> None:
        self._deadline = self.loop.call_later(seconds, self._late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        if self._in_head and self._begun:
            self.others.close("slow")
            limit_ms = self._limits.header_timeout_s * 1000
            self._finish(
                RequestTimeout(
                    f"the head of the request did not arrive within {limit_ms:.0f} ms "
                    "(QUINCUNX_HEADER_TIMEOUT_MS)"
                )
            )
        else:
            self._close("silent" if self._in_head else "slow")

    def _close(self, reason: Reason) -> None:
        if not self.transport.is_closing():
            self.others.close(reason)
            self._ended = True
            self.transport.close()


def _has_body(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 "))
        for name, value in headers
    )
