"""Benchmarks of the service: throughput, tails, overload, a soak, malformed bodies."""
