"""The Python client of the HTTP API: `quincunx.Client` and `quincunx.AsyncClient`."""
