"""Offline scoring, measured: against its own stages, against other loops, and its memory."""
