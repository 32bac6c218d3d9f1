"""How the values of settings are written: lists of keys, paths and names."""
