"""One training run: loaders, network, loss, schedule, and the loop over epochs."""

import training.torchvision_compat  # noqa: F401  (before any module here imports fastai)
