"""What a run leaves in its folder or shows while it trains: checkpoints, curves, progress."""
