"""A picture of a prediction as an image, for files and viewers."""

from PIL import Image, ImageDraw, ImageFont

from service.picture.card import SIDE_PX, Card
from service.picture.html import BAR, VIEW

WIDTH_PX, MARGIN_PX, LINE_PX, LETTERS_PX = 660, 12, 20, 13
NAME_PX, BAR_PX = 160, 130
INK, FAINT = "#212529", "#868e96"


def draw(card: Card) -> Image.Image:
    """RGB: the image with its views on the left, classes and sentences on the right."""
    font = ImageFont.load_default(LETTERS_PX)
    left = MARGIN_PX + (0 if card.image is None else SIDE_PX + MARGIN_PX)
    rows = len(card.classes) + sum(len(_wrapped(line, font, left)) for line in card.lines)
    height = max(0 if card.image is None else card.image.height, rows * LINE_PX + MARGIN_PX)
    picture = Image.new("RGB", (WIDTH_PX, height + 2 * MARGIN_PX), "white")
    pen = ImageDraw.Draw(picture)
    if card.image is not None:
        picture.paste(card.image, (MARGIN_PX, MARGIN_PX))
        width, tall = card.image.size
        for box in card.boxes:
            left_px, top_px = box.left * width, box.top * tall
            # A view of a large image may be smaller than a pixel of the picture.
            right_px = max(left_px, box.right * width - 1)
            bottom_px = max(top_px, box.bottom * tall - 1)
            corners = (left_px, top_px, right_px, bottom_px)
            pen.rectangle([MARGIN_PX + corner for corner in corners], outline=VIEW, width=2)
    top = MARGIN_PX
    for name, share in card.classes:
        pen.text((left, top), _cut(name, font), INK, font)
        at = left + NAME_PX
        pen.rectangle((at, top + 4, at + BAR_PX, top + 12), fill="#dee2e6")
        pen.rectangle((at, top + 4, at + BAR_PX * share, top + 12), fill=BAR)
        pen.text((at + BAR_PX + 8, top), f"{share:.1%}", INK, font)
        top += LINE_PX
    top += MARGIN_PX
    for line in card.lines:
        for part in _wrapped(line, font, left):
            pen.text((left, top), part, FAINT, font)
            top += LINE_PX
    return picture


def _cut(name: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    """The name, shortened to the width of its column."""
    name = name[:200]
    if font.getlength(name) <= NAME_PX - 8:
        return name
    while name and font.getlength(f"{name}…") > NAME_PX - 8:
        name = name[:-1]
    return f"{name}…"


def _wrapped(line: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, left: int) -> list[str]:
    """The words of a sentence, in lines that fit beside the image."""
    lines: list[str] = []
    for word in line.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= WIDTH_PX - left - MARGIN_PX:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
