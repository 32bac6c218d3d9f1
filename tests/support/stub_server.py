"""A server whose queueing is known exactly: one clerk, first come first served, a fixed time each.

`python -m tests.support.stub_server --service-ms 20` prints its port. When it answers is worked out
from when requests came (each begins when the one before it ended), not from when the process woke
up: its capacity is 1000 / service_ms a second on the noisiest machine.

POST any path: one unit of work; 429 where `--queue` requests are waiting already.
With `--stall-before N` the clerk goes away for a second when request N comes.
"""

import argparse
import asyncio
import selectors

from aiohttp import web


class Clerk:
    """The one who works; instants are the loop's."""

    def __init__(self, service_s: float, queue: int, stall_before: int) -> None:
        self.service_s = service_s
        self.queue = queue
        self.until_stall = stall_before
        self.free_at = 0.0
        self.waiting = 0

    async def work(self, _: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        if self.waiting >= self.queue:
            return web.Response(status=429, headers={"Retry-After": "1"})
        self.until_stall -= 1
        self.free_at = max(self.free_at, now) + self.service_s + (self.until_stall == 0)
        self.waiting += 1
        await asyncio.sleep(self.free_at - now)
        self.waiting -= 1
        return web.json_response({"predictions": []})


async def serve(clerk: Clerk) -> None:
    """Serve until killed; prints the port once."""
    app = web.Application()
    app.router.add_post("/{any:.*}", clerk.work)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--service-ms", type=float, required=True)
    parser.add_argument("--queue", type=int, default=1_000_000)
    parser.add_argument("--stall-before", type=int, default=0)
    options = parser.parse_args()
    clerk = Clerk(options.service_ms / 1e3, options.queue, options.stall_before)
    selector = selectors.SelectSelector()  # microseconds, where epoll has milliseconds
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(serve(clerk))


if __name__ == "__main__":
    main()
