"""The parts of the training loop: callbacks of an epoch and of a step, optimizers, averages."""
