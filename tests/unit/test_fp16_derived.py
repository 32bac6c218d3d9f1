"""fp16 without a file: derived from fp32 when a package is opened, compared with it, and cached."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from service.errors import ModelPackageError
from service.inference import opening
from service.inference.fp16 import agreement, graph
from service.inference.fp16.cache import cached
from service.inference.opening import open_package
from service.inference.predictor import Predictor
from service.package import package as packages
from service.package.package import ModelPackage
from tests.support.images import drawn
from tests.support.kinds import KINDS, kind_graph, kind_package
from tests.support.packages import write_graph

DEEP = ("class_map", "average", "maximum", "crops", "any_crops")


@pytest.fixture(name="deep", params=DEEP)
def _deep(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A package of one kind of graph with convolutions that run in float16."""
    folder = kind_package(tmp_path / "kind", request.param)
    write_graph(folder, kind_graph(request.param, 16, deep=True).SerializeToString())
    return folder


@pytest.fixture(name="one")
def _one(tmp_path: Path) -> Path:
    folder = kind_package(tmp_path / "kind", "average")
    write_graph(folder, kind_graph("average", 16, deep=True).SerializeToString())
    return folder


def test_every_kind_of_graph_answers_every_mode_as_fp32_does(deep: Path, tmp_path: Path) -> None:
    fp32, fp16 = (
        Predictor.from_package(deep, precision=p, provider="cpu", graph_cache=tmp_path / "cache")
        for p in ("fp32", "fp16")
    )
    assert (fp16.precision, fp16.package.precisions) == ("fp16", ("fp32",))
    assert fp16.model.modes == fp32.model.modes
    different = False
    for mode in set(fp32.model.modes) - {"custom"}:
        for seed, shape in enumerate(((90, 120), (75, 75))):
            image = drawn(*shape, seed)
            (expected,), (got,) = (p.classify([image], mode) for p in (fp32, fp16))
            a, b = expected.answer.probabilities, got.answer.probabilities
            np.testing.assert_allclose(a, b, atol=agreement.MOST_OF_PROBABILITIES)
            different = different or bool((a != b).any())
    assert different, "nothing ran in float16"


@pytest.mark.parametrize("named", KINDS)
def test_only_inner_layers_are_float16_and_the_signature_stays(named: str) -> None:
    drawn_as, stride_px = KINDS[named]
    before = kind_graph(drawn_as, stride_px, deep=True)
    after = onnx.load_model_from_string(graph.to_fp16(before.SerializeToString()))
    for values in ("input", "output"):
        assert [
            (value.name, value.type.tensor_type.elem_type) for value in getattr(after.graph, values)
        ] == [
            (value.name, value.type.tensor_type.elem_type)
            for value in getattr(before.graph, values)
        ]
    kinds = {tensor.name: tensor.data_type for tensor in after.graph.initializer}
    convolutions = [node for node in after.graph.node if node.op_type == "Conv"]
    assert kinds[convolutions[0].input[1]] == TensorProto.FLOAT16


def test_the_cache_saves_the_second_derivation(
    one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    fp32 = ModelPackage.load(one).read("fp32")
    first = opening.derived(fp32, cache)
    (entry,) = cache.glob("*.onnx")
    with monkeypatch.context() as patch:
        patch.setattr(graph, "to_fp16", lambda _: pytest.fail("it was derived again"))
        assert opening.derived(fp32, cache) == first
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    assert opening.derived(fp32, cache) == first  # a damaged entry is made again
    monkeypatch.setattr(graph, "to_fp16", lambda _: b"another")
    assert opening.derived(fp32, cache) == first
    assert opening.derived(fp32 + b"\0", cache) == b"another"  # another graph, another entry


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_workers_that_start_together_derive_once(tmp_path: Path) -> None:
    made: list[int] = []
    started = Barrier(4)

    def make() -> bytes:
        made.append(1)
        return b"graph"

    def one_worker(_: int) -> bytes:
        started.wait()
        return cached("entry.onnx", tmp_path / "cache", make)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(one_worker, range(4))) == {b"graph"}
    assert made == [1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
@pytest.mark.parametrize("name", ["entry.onnx", ".entry.onnx.lock"])
def test_a_pipe_in_the_cache_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert cached("entry.onnx", tmp_path, lambda: b"graph") == b"graph"
    assert cached("entry.onnx", tmp_path, lambda: b"graph") == b"graph"


@pytest.mark.parametrize("kind", ["a file", "read-only", "no home"])
def test_a_cache_that_cannot_be_written_is_no_error(
    one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder: Path | None = tmp_path / "cache"
    assert folder is not None
    if kind == "a file":
        folder.write_text("")
    elif kind == "read-only":
        folder.mkdir(mode=0o500)
        monkeypatch.setattr("tempfile.mkstemp", _refuse)  # root may write anywhere
    else:
        folder = None
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", _no_home)
    assert Predictor.from_package(one, precision="fp16", provider="cpu", graph_cache=folder)


def _refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_a_graph_that_does_not_agree_is_refused_and_auto_takes_fp32(
    one: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(agreement, "MOST_OF_PROBABILITIES", 0.0)
    package = ModelPackage.load(one)
    with pytest.raises(ModelPackageError, match=r"does not agree: logits differ by .*limit is 0\)"):
        open_package(package, "fp16", "cpu", (1,))
    monkeypatch.setattr(packages, "fast_precision", lambda *, gpu: "fp16")
    assert open_package(package, "auto", "cpu", (1,)).precision == "fp32"
    assert "fp32 is served instead" in caplog.text


def test_a_graph_that_cannot_be_converted_is_refused_and_auto_takes_fp32(
    one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: bytes) -> bytes:
        raise ValueError("no such operator")

    monkeypatch.setattr(graph, "to_fp16", fail)
    package = ModelPackage.load(one)
    with pytest.raises(ModelPackageError, match=r"no fp16 graph can be derived.*no such operator"):
        open_package(package, "fp16", "cpu", (1,), cache_folder=tmp_path)
    monkeypatch.setattr(packages, "fast_precision", lambda *, gpu: "fp16")
    assert open_package(package, "auto", "cpu", (1,), cache_folder=tmp_path).precision == "fp32"


def test_it_needs_no_torch(one: Path, tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from service.inference.predictor import Predictor\n"
        "one = Predictor.from_package(sys.argv[1], precision='fp16', provider='cpu')\n"
        "print(one.precision)"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", program, str(one)], capture_output=True, text=True, env=environment
    )
    assert (done.stdout, done.stderr) == ("fp16\n", "")
    assert len(list((tmp_path / "cache" / "quincunx").glob("*.fp16.onnx"))) == 1
