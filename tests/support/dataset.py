"""A data set that the tests draw: coloured images in fastai's layout."""

from pathlib import Path

from tests.support.images import COLOURS, coloured, encoded


def drawn_dataset(folder: Path, train: int = 20, val: int = 5, side_px: int = 40) -> Path:
    """``train/<colour>/*`` and ``val/<colour>/*``: so many images of each of three colours."""
    for part, count in (("train", train), ("val", val)):
        for offset, name in enumerate(COLOURS):
            target = folder / part / name
            target.mkdir(parents=True)
            for i in range(count):
                seed = 1000 * offset + i + (500 if part == "val" else 0)
                image = coloured(name, side_px, side_px + 8, seed)
                (target / f"{i:03}.png").write_bytes(encoded(image))
    return folder
