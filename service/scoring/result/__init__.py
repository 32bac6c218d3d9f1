"""Rows on disk: parts of an unfinished run, and the finished table under its name."""
