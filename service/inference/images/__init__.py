"""Image files: one module for each format, and what they share.

formats      which format the bytes are
clock        the limit on processor time, and the file that Pillow reads
orientation  EXIF and XMP orientation
rows         any picture to RGB, upright, a few rows at a time
jpeg, png, gif, webp, avif, bmp, tiff   one format each
"""
