"""Loaders over decoded images (`training.data.cache`): crops, resizing, flips.

A GPU resizes all crops of a batch at once, by two matrix products. On a CPU Pillow resizes each
crop, as it does for loaders that decode every file. Both use the same antialiased filter.
"""
