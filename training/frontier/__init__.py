"""Accuracy against time over every TTA mode: the measurement, its table and its plot."""
