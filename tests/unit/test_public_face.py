"""`import quincunx`: what it offers, what it costs, and that a wheel of it works anywhere."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import quincunx
from service.errors import UsageError
from service.package import shipped
from tests.support.shipped import ROOT, SHIPPED

QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(code: str, cwd: Path, path: Path = ROOT) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_imports_nothing_until_a_name_is_used(tmp_path: Path) -> None:
    code = "import quincunx, sys; print(*sys.modules)"
    loaded = set(run(code, tmp_path).split())
    assert not loaded & {"torch", "numpy", "onnxruntime", "service", "training"}


def test_a_star_import_does_not_load_torch(tmp_path: Path) -> None:
    code = "from quincunx import *; import sys; print(Predictor, *sys.modules)"
    assert not {"torch", "fastai", "training"} & set(run(code, tmp_path).split())


def test_every_public_name_is_there() -> None:
    for name in quincunx.__all__:
        assert getattr(quincunx, name) is not None
    assert dir(quincunx) == sorted([*quincunx.__all__, "export_learner", "export_module"])
    assert callable(quincunx.export_learner)
    assert callable(quincunx.export_module)
    assert quincunx.errors.UsageError is UsageError
    with pytest.raises(AttributeError, match="no attribute 'Predicter'"):
        quincunx.Predicter  # noqa: B018


def test_a_wheel_holds_the_public_face_and_works_from_any_folder(tmp_path: Path) -> None:
    source = tmp_path / "source"
    tracked = subprocess.check_output(
        ["git", "ls-files", "quincunx", "service", "training", "pyproject.toml", "README.md",
         "LICENSE"], cwd=ROOT, text=True,
    ).splitlines()  # fmt: skip
    for name in tracked:
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet",
         "--wheel-dir", str(tmp_path), str(source)],
        check=True, env={**os.environ, **QUIET}, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(installed)
    assert {"quincunx/py.typed", "service/py.typed", "service/api/page/index.html"} <= names
    assert not any(name.startswith(("tests/", "benchmarks/", "models/")) for name in names)
    code = (
        "import sys; sys.path = [p for p in sys.path if p != ''];"
        "from quincunx import Predictor; import quincunx;"
        f"p = Predictor.from_package({str(SHIPPED)!r}, provider='cpu', threads=1);"
        "print(quincunx.__file__, p.manifest.name)"
    )
    file, name = run(code, tmp_path, installed).split()
    assert file.startswith(str(installed))
    assert name == SHIPPED.name


def test_the_default_package_does_not_depend_on_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.named_or_shipped(None) == SHIPPED
    assert shipped.named_or_shipped(tmp_path) == tmp_path
    monkeypatch.setattr(shipped, "MODELS", tmp_path)
    with pytest.raises(UsageError, match="--model FOLDER"):
        shipped.named_or_shipped(None)
