"""One source of each kind that `quincunx score` reads, all of the same images."""

import io
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

ARROW_BATCH_ROWS = 7


def every_kind(folder: Path, photos: Path, suffix: str) -> dict[str, str]:
    """Write the sources into `folder`: what `score` is given, by kind.

    `photos` holds folders of images, one for each label, with the given suffix of names.
    """
    files = sorted(photos.glob(f"*/*{suffix}"))
    data = [path.read_bytes() for path in files]
    names = [f"{number:06}{suffix}" for number in range(len(files))]
    paths, labels = [str(path) for path in files], [path.parent.name for path in files]
    folder.mkdir()
    (folder / "list.txt").write_text("".join(f"{path}\n" for path in paths))
    lines = (f"{path},{label}\n" for path, label in zip(paths, labels, strict=True))
    (folder / "list.csv").write_text("path,truth\n" + "".join(lines))
    for name in ("shard.tar", "shard.tar.gz"):
        _write_tar(folder / name, names, data)
    with zipfile.ZipFile(folder / "shard.zip", "w") as archive:
        for name, one in zip(names, data, strict=True):
            archive.writestr(name, one)
    pq.write_table(pa.table({"image": data, "path": names}), folder / "bytes.parquet")
    pq.write_table(pa.table({"path": paths}), folder / "paths.parquet")
    table = pa.table({"image": data})
    with ipc.new_file(str(folder / "bytes.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=ARROW_BATCH_ROWS)
    kinds = {
        "folder": str(photos),
        "glob": f"{photos}/*/*{suffix}",
        "file URL": f"file://{photos}",
    }
    return kinds | {path.name: str(path) for path in sorted(folder.iterdir())}


def _write_tar(path: Path, names: list[str], data: list[bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, one in zip(names, data, strict=True):
            info = tarfile.TarInfo(name)
            info.size = len(one)
            archive.addfile(info, io.BytesIO(one))
