"""Image formats, told from the first bytes of a file."""

SIGNATURE_BYTES = 64
"""How many bytes `format_of` looks at."""

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"8BPS\x00\x01", "PSD"),
    (b"8BPS\x00\x02", "PSD"),
    (b"gimp xcf ", "XCF"),
    (b"DDS \x7c\x00\x00\x00", "DDS"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?RADIANCE\n", "Radiance HDR"),
    (b"qoif", "QOI"),
    (b"icns", "ICNS"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"IIRO", "camera raw (ORF)"),
    (b"IIRS", "camera raw (ORF)"),
    (b"MMOR", "camera raw (ORF)"),
    (b"IIU\x00", "camera raw (RW2)"),
    (b"FUJIFILMCCD-RAW ", "camera raw (RAF)"),
    (b"FOVb", "camera raw (X3F)"),
    (b"\x00MRM", "camera raw (MRW)"),
    (b"II\x1a\x00\x00\x00HEAPCCDR", "camera raw (CRW)"),
)
_BMP_HEADERS = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
"""Lengths in bytes of the header that follows a BMP's file header, one for each version."""
_AVIF = frozenset({b"avif", b"avis"})
_HEIF = frozenset(
    {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
)


def format_of(head: bytes) -> str | None:
    """The image format that the first bytes of a file show; None: they show no format.

    `head` holds the first `SIGNATURE_BYTES` of the file, or all of a shorter one. Formats without
    a reliable signature (SVG, PNM, TGA) are not recognized.
    """
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[:4] == b"II*\x00" and head[8:11] == b"CR\x02":
        return "camera raw (CR2)"
    return next((name for start, name in _STARTS if head.startswith(start)), None)


def _of_brands(head: bytes) -> str | None:
    """ISO base media files name their major brand, then the others that they conform to."""
    end = min(len(head), int.from_bytes(head[:4], "big"))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end, 4))]
    if head[8:12] == b"crx ":
        return "camera raw (CR3)"
    if _AVIF.intersection(brands):
        return "AVIF"
    return "HEIC" if _HEIF.intersection(brands) else None
