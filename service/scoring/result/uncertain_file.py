"""The file with the images that are most worth labelling: `OUT.uncertain.SUFFIX`."""

import io
from pathlib import Path, PurePosixPath
from typing import Any

from service.errors import OutputError
from service.replacing import replacing_file
from service.scoring.files import filesystem, is_file, local_path, open_binary
from service.scoring.result.durable import readable_errors
from service.scoring.result.sinks import sink_for
from service.scoring.summary.uncertain import COLUMNS, Uncertain


class UncertainFile:
    """Writes the picked images. People may edit the file, so other content is not replaced."""

    def __init__(self, picked: Uncertain, output: str) -> None:
        self.picked = picked
        folder, slash, name = output.rpartition("/")
        suffix = PurePosixPath(name).suffix
        self.name = f"{folder}{slash}{name.removesuffix(suffix)}.uncertain{suffix}"

    @property
    def path(self) -> Path | None:
        """Where it is; None for a URL."""
        local = local_path(self.name)
        return None if local is None else Path(local)

    def check_missing(self) -> None:
        """Refuse now, not after hours of work, to replace a file.

        Raises:
            OutputError: it exists already.
        """
        with readable_errors(self.name):
            there = is_file(self.name)
        if there:
            raise self._refused()

    def write(self, overwrite: bool) -> dict[str, Any]:
        """Write the file in one step. Returns what the summary says of it.

        Raises:
            OutputError: a file with other content is there, or it cannot be written.
        """
        stream = io.BytesIO()
        sink = sink_for(self.name)(stream, COLUMNS)
        table = self.picked.table()
        sink.write(table)
        sink.close()
        data = stream.getvalue()
        with readable_errors(self.name):
            if is_file(self.name) and not overwrite:
                with open_binary(self.name) as there:
                    if there.read(len(data) + 1) != data:
                        raise self._refused()
            elif self.path is None:
                fs, inner = filesystem(self.name)
                fs.pipe_file(inner, data)
            else:
                with replacing_file(self.path) as file:
                    file.write(data)
        return {"uncertain": {"output": self.name, "images": table.num_rows}}

    def _refused(self) -> OutputError:
        return OutputError(
            f"{self.name} exists already, with other images than --uncertain picks now: move it "
            "away, or replace it with the result (--overwrite)"
        )
