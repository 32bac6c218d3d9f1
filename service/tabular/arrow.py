"""pyarrow's Parquet and IPC modules as Any: its stubs leave most of their arguments unknown."""

from typing import Any

import pyarrow.ipc
import pyarrow.parquet

ipc: Any = pyarrow.ipc
pq: Any = pyarrow.parquet
