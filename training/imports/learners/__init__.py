"""fastai Learners: what their DataLoaders say of classes, sizes and normalization."""

import training.torchvision_compat  # noqa: F401  (before any module here imports fastai)
