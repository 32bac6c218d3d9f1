"""Training, measured: images per second, where a step's time goes, and memory."""

import training.torchvision_compat  # noqa: F401  (before any module here imports fastai)
