"""Models of other libraries become packages.

`sources` reads a model, `training.surgery` turns its graph into a package's, and `package` writes
it. Nothing is written that does not agree with its source.
"""
