"""The contract between training and serving: a manifest, its graphs, and the checks of both."""
