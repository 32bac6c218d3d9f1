"""Values of settings: lists of keys, paths and names, and renamed variables."""
