"""Which files of a folder or an archive are images: one rule for scoring, training and benchmarks.

A suffix of an image format, or a usual suffix of other files, decides. Any other file is an image
if its first bytes are those of an image format. Files and folders that systems and editors make for
their own use are neither images nor classes.
"""

import os
import re
from collections.abc import Callable

from service.inference.decode import FORMATS
from service.inference.image.signatures import format_of


def _suffixes(*names: str) -> frozenset[str]:
    return frozenset(f".{name}" for group in names for name in group.split())


DECODED_SUFFIXES = _suffixes(
    "jpg jpeg jpe jfif jfi jif pjpeg pjp mpo png apng webp gif bmp dib tif tiff avif avifs"
)
"""Suffixes of the formats that `service.inference.decode` decodes."""

OTHER_IMAGE_SUFFIXES = _suffixes(
    "heic heif hif heics heifs jxl jp2 j2k j2c jpc jpf jpx jxr hdp wdp",
    "svg svgz wmf emf psd psb xcf ico cur icns",
    "tga pcx ppm pgm pbm pnm pam pfm exr hdr dds qoi sgi ras xbm xpm dcm",
    "dng cr2 cr3 crw nef nrw arw srf sr2 orf rw2 raf pef srw x3f raw rwl 3fr iiq kdc dcr mrw erf",
)
"""Suffixes of image formats that are not decoded. A file of that name may still be a JPEG."""

NO_IMAGE_SUFFIXES = _suffixes(
    "txt md rst log csv tsv json jsonl ndjson xml yaml yml toml ini cfg html htm css js py ipynb",
    "sh cls pdf doc docx odt xls xlsx ods ppt pptx zip tar gz tgz bz2 xz 7z rar parquet arrow",
    "feather npy npz mat h5 hdf5 pkl pt pth onnx safetensors db sqlite aae xmp thm lnk url",
    "mp4 m4v mov avi mkv webm mpg mpeg 3gp mp3 m4a wav flac ogg",
)
"""Suffixes of files that lie beside images. They are not opened to see what they are."""

SYSTEM_NAMES = frozenset(
    {
        "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r", "picasa.ini",
        "zbthumbnail.info", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle",
        "#snapshot", "$recycle.bin", "recycler", "system volume information", "lost+found",
        "__macosx", "__pycache__", "network trash folder", "temporary items", "_vti_cnf",
    }
)  # fmt: skip
"""In lower case: files and folders of Windows, macOS, Linux and network storage."""

_SUFFIX = re.compile(r"\.\w{1,11}", re.ASCII)
_BACKUP = re.compile(r"~\$.*|.*~|#.*#", re.DOTALL)


def is_hidden(name: str, *, is_folder: bool = False) -> bool:
    """Whether a name is hidden or made by a system or an editor: neither an image nor a class.

    Names that begin with a dot, `SYSTEM_NAMES`, and the copies that editors keep (`a.jpg~`).
    """
    if name.startswith(".") or name.lower() in SYSTEM_NAMES:
        return True
    return not is_folder and _BACKUP.fullmatch(name) is not None


def is_hidden_path(path: str) -> bool:
    """Whether any part of a member's path in an archive is hidden; `.` and `..` are not."""
    *folders, name = re.split(r"[/\\]", path)
    outer = (part for part in folders if part not in ("", ".", ".."))
    return is_hidden(name) or any(is_hidden(part, is_folder=True) for part in outer)


def suffix_of(name: str) -> str:
    """The suffix in lower case with its dot; "" if the name has none."""
    suffix = os.path.splitext(name)[1]
    return suffix.lower() if _SUFFIX.fullmatch(suffix) else ""


def has_image_suffix(name: str) -> bool:
    """Whether a name says that the file is an image, decoded or not."""
    suffix = suffix_of(name)
    return suffix in DECODED_SUFFIXES or suffix in OTHER_IMAGE_SUFFIXES


def is_image(name: str, head: Callable[[], bytes]) -> bool:
    """Whether a file is an image, decoded or not.

    `head` reads its first `SIGNATURE_BYTES`. It is called only if the name does not decide. A file
    that cannot be read counts as an image, so that reading it later reports the error.
    """
    if has_image_suffix(name):
        return True
    return suffix_of(name) not in NO_IMAGE_SUFFIXES and _format(head) is not None


def is_decoded(name: str, head: Callable[[], bytes]) -> bool:
    """Whether a file is an image of a format that is decoded: like `is_image`, for training.

    If the name has the suffix of another image format, the first bytes decide.
    """
    suffix = suffix_of(name)
    if suffix in DECODED_SUFFIXES:
        return True
    return suffix not in NO_IMAGE_SUFFIXES and _format(head) in (*FORMATS, _UNREADABLE)


_UNREADABLE = "unreadable"


def _format(head: Callable[[], bytes]) -> str | None:
    try:
        return format_of(head())
    except OSError:
        return _UNREADABLE
