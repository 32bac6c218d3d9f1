"""Loaders over decoded images (`training.data.cache`): crops, resizing and flips, a batch at a time.

On a GPU a batch of crops is resized by two matrix products. On a CPU Pillow resizes each crop, as it
does for loaders that decode every file. Both use the same antialiased filter.
"""
