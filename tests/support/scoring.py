"""What the tests of offline scoring share: folders of drawn images, and runs of the command."""

import io
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from service.cli import app
from service.scoring.item import Item, Position
from service.scoring.options import Speed
from service.scoring.pipeline import score_items
from service.scoring.rows import Row
from service.scoring.scorer import Prepared, Scorer
from service.scoring.sources import Columns, expand
from tests.support.images import COLOURS, coloured, drawn, encoded

SHAPES = ((70, 90), (100, 64), (200, 131), (64, 64), (300, 99))


def drawn_items(count: int) -> list[Item]:
    """Readable images of several shapes."""
    return [
        Item(f"{n}.png", encoded(drawn(*SHAPES[n % len(SHAPES)], seed=n))) for n in range(count)
    ]


def located(items: Iterable[Item]) -> Iterator[tuple[Position, Item]]:
    """The items as a source yields them."""
    return ((Position(0, number), item) for number, item in enumerate(items))


def rows_of(scorer: Scorer, items: Iterable[Item], speed: Speed) -> list[Row]:
    """All rows of a run."""
    return [row for chunk in score_items(located(items), scorer, speed) for row in chunk]


def image_folder(folder: Path, each: int = 4, side_px: int = 100) -> Path:
    """Folders `red`, `green` and `blue`, `each` images in each, of several shapes."""
    for name in COLOURS:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            image = coloured(name, side_px, side_px + 30 * (number % 3), seed=number)
            (folder / name / f"{number:04}.png").write_bytes(encoded(image))
    return folder


def images_of(folder: Path) -> list[Path]:
    """Every image under a folder, in the order of scoring."""
    return sorted(folder.rglob("*.png"))


def items(*sources: object, columns: Columns | None = None) -> list[Item]:
    """What `quincunx score` would read from these sources."""
    return [item for stream in expand(map(str, sources), columns) for item in stream.items()]


def paths(*sources: object, columns: Columns | None = None) -> list[str]:
    """The names of these items."""
    return [item.path for item in items(*sources, columns=columns)]


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def write_parquet(path: Path, columns: dict[str, Sequence[Any]], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def run_score(*arguments: object) -> Any:
    """Run `quincunx score` in this process: exit_code, stdout, stderr."""
    return CliRunner().invoke(app, ["score", *map(str, arguments)])


def interrupted(*arguments: object, out: Path, images: int = 4) -> None:
    """Leave an unfinished run beside `out`, interrupted when so many images have gone through."""
    original, done = Scorer.finish, 0

    def finish(self: Scorer, chunk: Sequence[Prepared]) -> list[Row]:
        nonlocal done
        if done >= images:
            raise KeyboardInterrupt
        done += len(chunk)
        return original(self, chunk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scorer, "finish", finish)
        assert run_score(*arguments, "-o", out).exit_code == 130
    assert not out.exists()
    assert Path(f"{out}.partial").is_dir()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet result."""
    return pq.read_table(path).to_pylist()
