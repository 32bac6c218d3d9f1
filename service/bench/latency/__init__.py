"""Latency in one process, without HTTP."""
