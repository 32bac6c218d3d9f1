"""Bytes to probabilities: a plain library, usable without HTTP, no asyncio inside."""
