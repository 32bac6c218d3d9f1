"""Training, measured: images per second, where a step's time goes, and memory."""
