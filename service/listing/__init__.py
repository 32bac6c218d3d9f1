"""Which files are images, and what is said of the others. Scoring and training share it."""
