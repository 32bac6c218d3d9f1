"""The shipped model, by name: a user may keep packages of any kind beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "models" / "imagenette-xresnet18"
