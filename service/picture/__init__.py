"""Predictions as pictures for people: the image, its views and the likely classes."""
