"""Measure how well a package tells images of its classes from foreign images."""
