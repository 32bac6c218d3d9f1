"""What people look at before a training run: a batch of images, and a test of learning rates."""
