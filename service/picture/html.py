"""A picture of a prediction as HTML, for notebooks. It loads nothing and runs no script."""

import base64
import io

from service.console.text import in_html
from service.picture.card import Card

QUALITY = 80
VIEW, BAR = "#e8590c", "#1c7ed6"


def html(card: Card) -> str:
    """A block that fits into light and dark notebooks."""
    return (
        '<div style="display:flex;gap:16px;align-items:flex-start;flex-wrap:wrap;'
        'font-family:sans-serif;font-size:13px;margin:4px 0">'
        f"{_image(card)}<div>{_classes(card)}{_lines(card)}</div></div>"
    )


def _image(card: Card) -> str:
    if card.image is None:
        return ""
    buffer = io.BytesIO()
    card.image.save(buffer, "JPEG", quality=QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    width, height = card.image.size
    boxes = "".join(
        f'<rect x="{box.left * width:.1f}" y="{box.top * height:.1f}" '
        f'width="{(box.right - box.left) * width:.1f}" '
        f'height="{(box.bottom - box.top) * height:.1f}"/>'
        for box in card.boxes
    )
    return (
        f'<div style="position:relative;width:{width}px;height:{height}px">'
        f'<img alt="the image" width="{width}" height="{height}" '
        f'style="margin:0;max-width:none" src="data:image/jpeg;base64,{data}">'
        f'<svg width="{width}" height="{height}" style="position:absolute;left:0;top:0" '
        f'fill="none" stroke="{VIEW}" stroke-width="2" opacity="0.85">{boxes}</svg></div>'
    )


def _classes(card: Card) -> str:
    rows = "".join(
        '<div style="display:flex;gap:8px;align-items:center;margin-bottom:4px">'
        f'<span style="width:150px;text-align:right;overflow-wrap:anywhere">{in_html(name)}</span>'
        '<span style="width:140px;height:10px;background:#8884;border-radius:2px">'
        f'<span style="display:block;width:{100 * share:.1f}%;height:10px;background:{BAR};'
        f'border-radius:2px"></span></span><span>{share:.1%}</span></div>'
        for name, share in card.classes
    )
    return f"<div>{rows}</div>"


def _lines(card: Card) -> str:
    return "".join(f'<div style="opacity:.75">{in_html(line)}</div>' for line in card.lines)
