"""Files and output of a training run: checkpoints, curves, progress."""
