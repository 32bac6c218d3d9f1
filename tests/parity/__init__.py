"""The code against reference implementations."""

import training.torchvision_compat  # noqa: F401  (before any module here imports torchvision)
