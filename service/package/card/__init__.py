"""The model card: the manifest as a document for people."""
