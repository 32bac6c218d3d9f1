"""A table of architectures that are imported: what their packages can do, and what passes cost."""
