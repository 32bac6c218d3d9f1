"""Whether answers still look like those to the calibration images. No images are kept."""
