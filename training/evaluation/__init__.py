"""Evaluation of a package: metrics of every TTA mode, by the code that serves."""
