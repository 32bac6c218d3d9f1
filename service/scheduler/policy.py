"""What the scheduler runs next, as pure functions of its state. `Batcher` has the locks.

The aims, in this order:

- An empty queue never delays a request. No timer waits for more views.
- A single request in flight gets every core (single-request mode).
- On a CPU, with a short queue, the views are divided among the threads that can start now. A batch
  leaves views to the slots that are busy and will free soon.
- On a GPU a batch takes all waiting views, up to its limit. There a larger batch takes hardly
  longer, and the views that arrive meanwhile go into the next slot.
- With a long queue, batches grow as far as a larger one takes less time for each view. They do not
  grow further: every image of a batch waits for the whole batch.
"""

from dataclasses import dataclass
from typing import NamedTuple

COOLDOWN_IMAGES = 2
"""After requests overlap, this many must arrive without overlap before single-request mode returns.
While requests overlap, the mode costs throughput: one pass on two cores does less work per second
than two passes with one core each."""


@dataclass(frozen=True)
class Limits:
    """What stays the same while the server runs."""

    max_concurrent_batches: int
    """The number of slots: batches that may run at once."""
    max_batch_views: int
    enough_views: int
    """Larger batches take hardly less time for each view. Only the views of one image may exceed
    it."""
    workers_run_batches: bool
    """Whether the threads that decode also run the batches, as on a CPU."""
    has_latency_session: bool
    """Whether single-request mode is on."""


class State(NamedTuple):
    """What waits and what is free at one moment."""

    waiting_views: int
    """Views in the queue."""
    undecoded_images: int
    """Images that wait for a thread to decode them."""
    free_slots: int
    idle_threads: int
    """Threads that could run a batch, without the one that asks."""
    uncontended: bool
    """Whether only one image is in flight, and the last `COOLDOWN_IMAGES` overlapped with none."""
    one_image_waits: bool
    """Whether all waiting views belong to one image and can share a batch."""
    decoded_since_batch: int = 0
    """Images that went to a thread for decoding while views waited, since the last batch."""


class BatchDecision(NamedTuple):
    """The batch to run now."""

    share_views: int
    """How many views to take, before the limit of a batch."""
    whole_images: bool
    """Whether to take the remaining views of the last image too."""
    slots: int
    """Slots that the batch occupies."""
    single_request: bool = False
    """Whether to run in the latency session. Nothing is decoded meanwhile."""


def decide_batch(limits: Limits, state: State) -> BatchDecision | None:
    """The batch that a free thread should run now; None: it should do something else."""
    if not state.free_slots or not state.waiting_views or decode_first(limits, state):
        return None
    if limits.has_latency_session and is_single_request(limits, state):
        share = _slot_share(limits, state)
        return BatchDecision(share, True, limits.max_concurrent_batches, single_request=True)
    if not limits.workers_run_batches:
        return BatchDecision(min(state.waiting_views, limits.enough_views), True, 1)
    helpers = min(state.free_slots - 1, state.idle_threads)
    if helpers:
        share = -(-state.waiting_views // (1 + helpers))
        return BatchDecision(min(share, limits.enough_views), False, 1)
    return BatchDecision(min(_slot_share(limits, state), limits.enough_views), True, 1)


def decode_first(limits: Limits, state: State) -> bool:
    """Whether to decode before the next batch, because the queue is less than one slot's share.

    `enough_views` never wait for decoding. A batch waits for `max_batch_views` images at most:
    images that fail or leave add no views.
    """
    return (
        limits.workers_run_batches
        and state.undecoded_images > 0
        and state.waiting_views < min(_slot_share(limits, state), limits.enough_views)
        and state.decoded_since_batch < limits.max_batch_views
    )


def is_single_request(limits: Limits, state: State) -> bool:
    """Whether the views of the only image wait for one batch, and every slot is free."""
    return (
        state.uncontended
        and state.one_image_waits
        and state.free_slots == limits.max_concurrent_batches
        and state.idle_threads >= limits.max_concurrent_batches - 1
    )


def threads_to_wake(limits: Limits, state: State, new_views: int) -> int:
    """How many threads to wake for `new_views` that have just joined the queue."""
    single = limits.has_latency_session and is_single_request(limits, state)
    batches = 1 if single else new_views
    # Where workers run the batches, the worker that queued the views looks for work itself.
    return batches - limits.workers_run_batches


def _slot_share(limits: Limits, state: State) -> int:
    """One slot's share of the waiting views and undecoded images, rounded up."""
    views = state.waiting_views + state.undecoded_images
    return -(-views // limits.max_concurrent_batches)
