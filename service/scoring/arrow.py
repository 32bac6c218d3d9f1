"""pyarrow's Parquet and IPC modules; see `service.tabular.arrow`."""

from service.tabular.arrow import ipc, pq

__all__ = ["ipc", "pq"]
