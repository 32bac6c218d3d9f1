"""Each peer as its own documentation would have it; each runs in a venv of its own."""
