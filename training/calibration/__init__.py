"""Fitting on held-out images: temperatures, gates, view weights, prediction sets."""
