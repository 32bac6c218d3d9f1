"""Labelled images: folders and tables, how they are split, and their statistics. No fastai here."""
