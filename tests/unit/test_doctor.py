"""`quincunx doctor` says what is there, and what `auto` would choose."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service import doctor
from service.cli import app
from service.inference.runtime.cuda import Cuda

GPU = Cuda(driver_cuda="13.1", cudnn="9.10.2", devices=("Fake GPU, 80 GiB",))
BARE = Cuda(missing=("libcudart.so.13", "libcudnn.so.9"), driver_cuda="13.1")


def cpu_info(folder: Path, flags: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu {flags}\n\n")
    return path


@pytest.mark.parametrize(
    ("found", "flags", "provider", "precision", "reason"),
    [
        (GPU, "avx2", "cuda", "fp16", "float16"),
        (BARE, "avx2 avx512f avx512_vnni", "cpu", "int8", "VNNI"),
        (BARE, "avx2", "cpu", "int8", "without VNNI"),
    ],
)
def test_the_choices_follow_from_the_facts(
    tmp_path: Path, found: Cuda, flags: str, provider: str, precision: str, reason: str
) -> None:
    got = doctor.diagnose(lambda: found, cpu_info(tmp_path, flags))
    assert got.cpu == "A CPU"
    assert got.instructions == tuple(flags.split())
    assert (got.provider.chosen, got.precision.chosen) == (provider, precision)
    assert reason in got.precision.reason
    assert got.cores > 0
    assert got.memory_bytes > 0


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    got = doctor.diagnose(lambda: BARE, tmp_path / "no such file")
    lines = dict(got.lines())
    assert "libcudart.so.13, libcudnn.so.9" in lines["CUDA"]
    assert "libcudart.so.13" in lines["auto provider"]
    assert "pip install 'quincunx[cuda]'" in lines["auto provider"]
    assert got.instructions == ()


@pytest.mark.parametrize(
    ("found", "usable", "line"),
    [
        (GPU, ["cpu", "cuda"], "cpu is usable; cuda is usable"),
        (BARE, ["cpu"], "cpu is usable; cuda is not usable (see CUDA)"),
    ],
)
def test_each_provider_is_said_to_be_usable_or_not(
    found: Cuda, usable: list[str], line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ONNX Runtime offers TensorRT wherever it is built with it; Quincunx has no such provider."""
    offered = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
    for names, more in ((offered, True), (offered[1:], False)):
        monkeypatch.setattr(doctor.providers, "available", lambda names=names: names)
        got = doctor.diagnose(lambda: found, tmp_path / "no such file")
        said = dict(got.lines())["providers"]
        assert said.partition("; ONNX")[0] == line
        assert ("offers TensorrtExecutionProvider, which Quincunx does not use" in said) == more
        assert got.as_json()["usable_providers"] == usable


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor,
        "diagnose",
        lambda: doctor.Diagnosis(
            GPU,
            "A CPU",
            16,
            ("avx2",),
            2**36,
            {"quincunx": "1"},
            ("CUDAExecutionProvider",),
            gpu_free_bytes=79 * 2**30,
        ),
    )
    text = CliRunner().invoke(app, ["doctor"]).stdout
    assert "Fake GPU, 80 GiB" in text
    assert "supports CUDA 13.1" in text
    facts = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert facts["cores"] == 16
    assert facts["cuda"]["usable"]
    assert {name: choice["chosen"] for name, choice in facts["auto"].items()} == {
        "provider": "cuda",
        "precision": "fp16",
        "workers": "16",
        "decode_processes": "15",
    }


def test_the_command_runs_on_this_machine() -> None:
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["auto"]["provider"]["chosen"] in ("cpu", "cuda")
