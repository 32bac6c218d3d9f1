"""EXIF and XMP in the text chunks of a PNG."""

import zlib

_XMP = b"XML:com.adobe.xmp"
_RAW_EXIF = b"Raw profile type exif"
MAX_BYTES = 1024 * 1024
"""How much of a compressed text is unpacked."""


class Texts:
    """Remembers the chunks that may tell the orientation, and reads them when asked."""

    def __init__(self) -> None:
        self._exif: memoryview | None = None
        self._texts: dict[bytes, tuple[bytes, memoryview]] = {}

    def see(self, kind: bytes, body: memoryview) -> None:
        """Look at a chunk; the last of a kind counts."""
        if kind == b"eXIf":
            self._exif = body
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            key = bytes(body[:80]).partition(b"\0")[0]
            if key in (_XMP, _RAW_EXIF):
                self._texts[key] = kind, body[len(key) + 1 :]

    def exif(self) -> bytes | None:
        """The EXIF block of eXIf, or the one that ImageMagick writes as hexadecimal text."""
        if self._exif is not None:
            return bytes(self._exif)
        text = self._text(_RAW_EXIF)
        try:
            return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
        except ValueError:
            return None

    def xmp(self) -> bytes | None:
        """The XMP packet."""
        return self._text(_XMP) or None

    def _text(self, key: bytes) -> bytes:
        kind, body = self._texts.get(key, (b"tEXt", memoryview(b"")))
        packed = kind == b"zTXt"
        if kind == b"zTXt":
            body = body[1:]
        elif kind == b"iTXt":
            packed = body[:1].tobytes() == b"\1"
            language_and_key = bytes(body[2:]).split(b"\0", 2)
            body = memoryview(language_and_key[2] if len(language_and_key) == 3 else b"")
        if not packed:
            return bytes(body)
        try:
            return zlib.decompressobj().decompress(body, MAX_BYTES)
        except zlib.error:
            return b""
