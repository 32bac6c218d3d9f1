"""The peers: how each is installed and started, and how requests to it look."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from service.bench.photos import Photos

ROOT = Path(__file__).resolve().parents[2]
SYSTEMS = Path(__file__).resolve().parent / "systems"
VENVS = ROOT / ".venv-peers"
BOUNDARY = "quincunx-peers"
TRITON_HEADER_BYTES = 256
COMMON = ("numpy", "pillow", "onnxruntime==1.31.1")


@dataclass(frozen=True)
class Peer:
    """One way of serving the model."""

    name: str
    program: str
    requirements: tuple[str, ...]
    wrap: Callable[[Photos], Photos]
    path: str = "/classify"
    headers: tuple[tuple[str, str], ...] = ()
    python: str = sys.executable
    """The interpreter that makes the venv."""

    @property
    def venv(self) -> Path:
        return VENVS / self.name

    def install(self) -> None:
        """Make the venv with what the peer needs, once."""
        stamp = self.venv / "installed.json"
        wanted = json.dumps(self.requirements)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        subprocess.run([self.python, "-m", "venv", "--clear", str(self.venv)], check=True)  # noqa: S603
        pip = [str(self.venv / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *self.requirements], check=True, stdout=sys.stderr)  # noqa: S603
        stamp.write_text(wanted)

    def command(self) -> list[str]:
        return [str(self.venv / "bin" / "python"), self.program]

    def environment(self, **settings: str) -> dict[str, str]:
        """The process environment, with the peer's own programs first."""
        path = f"{self.venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, **{f"PEER_{k}": v for k, v in settings.items()}}


def raw(photos: Photos) -> Photos:
    """The file itself is the body."""
    return photos


def multipart(photos: Photos) -> Photos:
    """A form with one file in the field `images`, as `curl -F images=@photo.jpg` sends it."""
    head = (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="images"; filename="photo.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    return Photos(
        tuple(head + data + tail for data in photos.files),
        photos.description,
        f"multipart/form-data; boundary={BOUNDARY}",
    )


def base64_json(photos: Photos) -> Photos:
    """`{"image": "…"}`, as LitServe's documentation sends images."""
    return Photos(
        tuple(
            json.dumps({"image": base64.b64encode(data).decode()}).encode() for data in photos.files
        ),
        photos.description,
        "application/json",
    )


def triton(photos: Photos) -> Photos:
    """The KServe protocol's binary form: a JSON header of fixed length, then length and bytes."""
    return Photos(
        tuple(_triton_header(len(data) + 4) + _prefixed(data) for data in photos.files),
        photos.description,
        "application/octet-stream",
    )


def _triton_header(payload_bytes: int) -> bytes:
    described = {
        "name": "image",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": payload_bytes},
    }
    return json.dumps({"inputs": [described]}).ljust(TRITON_HEADER_BYTES).encode()


def _prefixed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


PEERS = (
    Peer(
        "fastapi", "fastapi_ort.py", (*COMMON, "fastapi==0.165.0", "uvicorn[standard]==0.54.0"), raw
    ),
    Peer("litserve", "litserve_api.py", (*COMMON, "litserve==0.2.19"), base64_json),
    Peer("bentoml", "bentoml_batchable.py", (*COMMON, "bentoml==1.4.39"), multipart),
    Peer(
        "pytriton",
        "pytriton_bind.py",
        # Triton's Python backend wants Debian's own Python: other builds lack its shared library.
        ("numpy<2", "pillow", "onnxruntime<1.24", "nvidia-pytriton==0.7.0"),
        triton,
        path="/v2/models/classify/infer",
        headers=(("Inference-Header-Content-Length", str(TRITON_HEADER_BYTES)),),
        python=shutil.which("python3.11", path="/usr/bin") or sys.executable,
    ),
)
