"""Digests of files' contents, to split a folder and to recognize training images."""
