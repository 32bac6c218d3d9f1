"""Where a run is divided: into groups of images, and groups into chunks that fit into memory.

    items ──> groups, by their number and by the bytes in archives ──> chunks, by decoded bytes

Both depend on the items alone. So a run that starts at the beginning of a group has the same
chunks, batches and rows as the whole run, whatever the number of threads or processes.
"""

from collections.abc import Iterable, Iterator

from service.scoring.item import Item, Position
from service.scoring.scorer import Prepared

GROUP_BYTES = 32 * 1024 * 1024
"""Of image files that come from archives and tables, and so wait in memory with their group."""
CHUNK_BYTES = 64 * 1024 * 1024
"""Of decoded images and their views."""

Located = tuple[Position, Item]


class GroupEnds:
    """Tells which item is the last one of its group."""

    def __init__(self, images: int) -> None:
        self._most_images = images
        self._images = self._bytes = 0

    def at(self, item: Item) -> bool:
        """Whether the group ends with `item`, the next one in order."""
        self._images += 1
        self._bytes += len(item.data or b"")
        ends = self._images >= self._most_images or self._bytes >= GROUP_BYTES
        if ends:
            self._images = self._bytes = 0
        return ends


def groups(items: Iterable[Located], images: int) -> Iterator[list[Located]]:
    """The groups of `items`, in order."""
    ends, group = GroupEnds(images), list[Located]()
    for located in items:
        group.append(located)
        if ends.at(located[1]):
            yield group
            group = []
    if group:
        yield group


def chunks(
    prepared: Iterable[tuple[Prepared, bool]],
) -> Iterator[tuple[list[Prepared], bool]]:
    """Chunks of prepared images, and whether a group ends there, as it does after each image."""
    chunk: list[Prepared] = []
    held_bytes = 0
    for one, ends in prepared:
        chunk.append(one)
        held_bytes += one.held_bytes
        if ends or held_bytes >= CHUNK_BYTES:
            yield chunk, ends
            chunk, held_bytes = [], 0
    if chunk:
        yield chunk, True
