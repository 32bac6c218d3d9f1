"""TIFF: how its samples are stored, which of them are black and white, and its pixels."""
