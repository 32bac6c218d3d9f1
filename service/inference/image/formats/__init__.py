"""Image files: one module for each format, and what some of them share."""
