"""Which files are images, and counts of the others. Scoring and training share it."""
