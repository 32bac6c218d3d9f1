"""The contract between training and serving: a manifest, its graphs, and what must hold of both."""
