"""From the bytes of a file to upright RGB pixels, and from pixels to views."""
