"""An environment in which this checkout is installed as its pyproject.toml says now."""

import tomllib
from importlib.metadata import entry_points
from pathlib import Path

from tests.support.shipped import ROOT


def python_path(folder: Path) -> str:
    """A PYTHONPATH of this checkout and its entry points, which torch looks for.

    An environment that was installed before an entry point was added lacks it. Then `folder` gets
    the files that an installation would write.
    """
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    text = ""
    for group, points in declared.items():
        if not points.keys() <= {point.name for point in entry_points(group=group)}:
            lines = [f"{name} = {value}" for name, value in points.items()]
            text += "\n".join([f"[{group}]", *lines, ""])
    if text:
        about = folder / "quincunx_points-1.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: quincunx-points\nVersion: 1\n"
        )
        (about / "entry_points.txt").write_text(text)
    return f"{folder}:{ROOT}"
