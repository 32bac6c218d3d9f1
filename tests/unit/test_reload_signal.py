"""One reload for all workers: each follows what another one announced."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from service.api.server import reload_signal
from service.api.server.reload_signal import Reloads
from service.api.server.shared_memory import Shared
from service.errors import ModelPackageError, ShuttingDown
from tests.support.waiting import until


@pytest.fixture(name="shared")
def _shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shared]:
    monkeypatch.setattr(reload_signal, "INTERVAL_S", 0.001)
    monkeypatch.setattr(reload_signal, "RETRIES_S", (0.001, 0.001))
    shared = Shared.create(workers=2)
    yield shared
    os.close(shared.fd)


async def follow(
    shared: Shared,
    load: Callable[[], None],
    act: Callable[[Reloads], object],
    until_loads: tuple[int, int],
) -> None:
    """Let two workers follow what `act` announces, until they have loaded so often."""
    loads = [0, 0]
    workers = [Reloads(shared) for _ in loads]

    async def counted(number: int) -> None:
        loads[number] += 1
        load()

    async def watch(number: int) -> None:
        await workers[number].follow(lambda: counted(number))

    tasks = [asyncio.create_task(watch(number)) for number in range(2)]
    act(workers[0])
    await until(lambda: tuple(loads) == until_loads)
    # What is announced next is the next that they load: nothing was loaded twice before.
    shared.announce()
    await until(lambda: loads[0] > until_loads[0] and loads[1] > until_loads[1])
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_the_others_load_once_and_the_announcer_not_again(shared: Shared) -> None:
    await follow(shared, lambda: None, lambda first: first.announce(), (0, 1))


async def test_a_signal_to_the_supervisor_reaches_all(shared: Shared) -> None:
    await follow(shared, lambda: None, lambda _: shared.announce(), (1, 1))


async def test_a_worker_that_starts_after_a_reload_has_seen_it(shared: Shared) -> None:
    shared.announce()
    await follow(shared, lambda: None, lambda first: first.announce(), (0, 1))


async def test_a_load_that_fails_is_tried_again(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError("no memory"), OSError("no memory")]

    def load() -> None:
        if failures:
            raise failures.pop()

    await follow(shared, load, lambda first: first.announce(), (0, 3))
    assert caplog.text.count("it tries again") == 2


async def test_a_load_that_fails_for_good_is_said_and_the_watch_goes_on(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError("no memory") for _ in range(3)]

    def load() -> None:
        if failures:
            raise failures.pop()

    await follow(shared, load, lambda first: first.announce(), (0, 3))
    assert caplog.text.count("this worker serves its old models") == 1


async def test_a_worker_that_ends_does_not_report_a_failed_reload(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> None:
        raise ShuttingDown("the server is shutting down")

    await follow(shared, load, lambda first: first.announce(), (0, 1))
    assert caplog.text == ""


async def test_a_package_that_is_refused_is_one_line_of_the_log(
    shared: Shared, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> None:
        if not caplog.records:
            raise ModelPackageError("manifest.json is invalid")

    await follow(shared, load, lambda first: first.announce(), (0, 2))
    (record,) = caplog.records
    assert record.getMessage().endswith("it tries again: manifest.json is invalid")
    assert record.exc_info is None
