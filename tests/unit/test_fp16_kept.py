"""How far fp16 agrees is measured once: other processes and later starts read the result."""

import json
import logging
import math
from dataclasses import fields, replace
from pathlib import Path

import pytest

from service.errors import InferenceFailed, ModelPackageError
from service.inference import opening
from service.inference.fp16 import agreement, cache
from service.inference.fp16.agreement import Agreement
from service.inference.fp16.kept_agreement import Compared, kept
from service.inference.opening import open_package
from service.inference.runtime import cuda, providers
from service.inference.runtime.cuda import Cuda
from service.package import package as packages
from service.package.package import ModelPackage
from tests.support.kinds import kind_graph, kind_package
from tests.support.packages import write_graph

WHAT = Compared("a", "b", 224, "single_label", "CPU", "onnxruntime 1", 1)
SEEN = Agreement(1e-3, 2e-3)


@pytest.fixture(name="package")
def _package(tmp_path: Path) -> ModelPackage:
    folder = kind_package(tmp_path / "kind", "average")
    write_graph(folder, kind_graph("average", 16, deep=True).SerializeToString())
    return ModelPackage.load(folder)


def refuse(*_: object) -> Agreement:
    pytest.fail("it was compared again")


def test_a_second_start_compares_nothing(
    package: ModelPackage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "quincunx.models")
    open_package(package, "fp16", "cpu", (1,), cache_folder=tmp_path / "cache")
    assert "compared before" not in caplog.text
    monkeypatch.setattr(agreement, "compare", refuse)
    open_package(package, "fp16", "cpu", (1,), cache_folder=tmp_path / "cache")
    assert "(compared before)" in caplog.text


def test_a_result_over_the_limits_is_kept_as_measured(
    package: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both processes refuse, and a later version with other limits decides anew."""
    with monkeypatch.context() as patch:
        patch.setattr(agreement, "MOST_OF_PROBABILITIES", 0.0)
        with pytest.raises(ModelPackageError, match="does not agree"):
            open_package(package, "fp16", "cpu", (1,), cache_folder=tmp_path)
        patch.setattr(agreement, "compare", refuse)
        with pytest.raises(ModelPackageError, match="does not agree"):
            open_package(package, "fp16", "cpu", (1,), cache_folder=tmp_path)
        patch.setattr(packages, "fast_precision", lambda *, gpu: "fp16")
        served = open_package(package, "auto", "cpu", (1,), cache_folder=tmp_path)
        assert served.precision == "fp32"
    monkeypatch.setattr(agreement, "compare", refuse)
    assert open_package(package, "fp16", "cpu", (1,), cache_folder=tmp_path).precision == "fp16"


@pytest.mark.parametrize(
    ("changed", "value"),
    [("versions", "onnxruntime 0"), ("device", "another GPU"), ("METHOD", 999)],
)
def test_other_libraries_devices_and_methods_are_compared_anew(
    package: ModelPackage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: str,
    value: str | int,
) -> None:
    fp32 = package.read("fp32")
    session = open_package(package, "fp16", "cpu", (1,), cache_folder=tmp_path).sessions[0]
    fp16 = opening.derived(fp32, tmp_path)
    compared: list[object] = []

    def count(*given: object) -> Agreement:
        compared.append(given)
        return SEEN

    monkeypatch.setattr(agreement, "compare", count)
    opening.check_agreement(package, fp32, fp16, session, tmp_path)
    assert not compared
    owner = agreement if changed == "METHOD" else opening
    monkeypatch.setattr(owner, changed, value if changed == "METHOD" else lambda *_: value)
    opening.check_agreement(package, fp32, fp16, session, tmp_path)
    assert len(compared) == 1


@pytest.mark.parametrize("name", [field.name for field in fields(Compared)])
def test_everything_that_a_result_depends_on_is_in_its_name(name: str, tmp_path: Path) -> None:
    other = replace(WHAT, **{name: 99 if isinstance(getattr(WHAT, name), int) else "other"})
    assert kept(WHAT, tmp_path, lambda: SEEN) == (SEEN, False)
    assert kept(WHAT, tmp_path, refuse) == (SEEN, True)
    assert kept(other, tmp_path, lambda: Agreement(0.5, 0.5)) == (Agreement(0.5, 0.5), False)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no JSON",
        b"[]",
        b"null",
        b"\xff",
        json.dumps({"compared": {}, "agreement": {"logits": 0.0, "probabilities": 0.0}}).encode(),
    ],
)
@pytest.mark.parametrize("digest", ["right", "wrong"])
def test_an_entry_that_does_not_match_is_not_trusted(
    content: bytes, digest: str, tmp_path: Path
) -> None:
    kept(WHAT, tmp_path, lambda: SEEN)
    path = tmp_path / WHAT.file()
    right = path.read_bytes()
    if digest == "right":
        path.unlink()
        cache.cached(WHAT.file(), tmp_path, lambda: content)
    else:
        path.write_bytes(content)
    assert kept(WHAT, tmp_path, lambda: SEEN) == (SEEN, False)
    assert path.read_bytes() == right


def test_the_entry_of_another_comparison_is_not_trusted_under_this_name(tmp_path: Path) -> None:
    other = replace(WHAT, fp16="other")
    kept(other, tmp_path, lambda: Agreement(0.0, 0.0))
    (tmp_path / other.file()).rename(tmp_path / WHAT.file())
    assert kept(WHAT, tmp_path, lambda: SEEN) == (SEEN, False)


@pytest.mark.parametrize("value", [-1.0, True, None, "0", 0])
def test_differences_are_numbers_from_0(value: object, tmp_path: Path) -> None:
    kept(WHAT, tmp_path, lambda: SEEN)
    path = tmp_path / WHAT.file()
    content = json.loads(path.read_bytes()[cache.DIGEST_BYTES :])
    content["agreement"]["logits"] = value
    path.unlink()
    cache.cached(WHAT.file(), tmp_path, json.dumps(content).encode)
    assert kept(WHAT, tmp_path, lambda: SEEN) == (SEEN, False)


def test_a_result_that_is_not_a_number_is_kept_and_never_good(tmp_path: Path) -> None:
    nan = Agreement(math.nan, math.nan)
    kept(WHAT, tmp_path, lambda: nan)
    found, before = kept(WHAT, tmp_path, refuse)
    assert (before, found.good) == (True, False)
    assert math.isnan(found.logits)


def test_a_comparison_that_fails_is_not_kept(tmp_path: Path) -> None:
    def fail() -> Agreement:
        raise InferenceFailed("out of memory")

    with pytest.raises(InferenceFailed):
        kept(WHAT, tmp_path, fail)
    assert kept(WHAT, tmp_path, lambda: SEEN) == (SEEN, False)


def test_without_a_folder_every_start_compares() -> None:
    assert kept(WHAT, None, lambda: SEEN) == (SEEN, False)
    assert kept(WHAT, None, lambda: SEEN) == (SEEN, False)


def test_a_device_is_named_by_its_gpu_and_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Cuda(driver_cuda="13.0", cudnn="9.10.2", devices=("GPU A, 80 GiB", "GPU B, 80 GiB"))
    monkeypatch.setattr(cuda, "look", lambda: found)
    gpu = "CUDAExecutionProvider on GPU A, 80 GiB, CUDA 13.0, cuDNN 9.10.2"
    assert providers.device("cuda") == gpu
    assert providers.device("cpu") == "CPUExecutionProvider"
