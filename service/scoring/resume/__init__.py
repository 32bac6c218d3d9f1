"""Recognise images that an earlier run has already scored."""
