"""Metrics that a package holds, and what the answers that they describe depend on."""
