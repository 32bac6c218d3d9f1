"""Offline scoring: folders, lists, tables and archives of images to a table of answers.

from quincunx import score

for row in score("photos/", "models/imagenette-xresnet18", tta="dense"):
    print(row.path, row.error or row.top[0].name)
"""

from service.scoring.api import score
from service.scoring.rows import Row

__all__ = ["Row", "score"]
