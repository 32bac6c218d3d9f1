"""Calibration of a package of few images: networks that answer for images they have not seen."""
