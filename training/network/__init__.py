"""The network: its architecture, its weights, and the statistics of its batch normalization."""

import training.torchvision_compat  # noqa: F401  (before any module here imports fastai)
