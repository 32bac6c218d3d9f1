"""fastai Learners: what their DataLoaders say of classes, sizes and normalization."""
