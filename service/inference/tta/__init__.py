"""Test-time augmentation: which views a mode runs, and how their outputs become one answer."""
