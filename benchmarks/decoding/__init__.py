"""How fast files become views, and how far scaled decoding is from exact decoding."""
