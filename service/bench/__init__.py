"""Measurements of latency and load that a performance engineer accepts."""
