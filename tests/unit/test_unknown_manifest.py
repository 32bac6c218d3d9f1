"""The parts of a manifest about unknown images: what contradicts the rest is refused."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.package.manifest import Graph, Manifest
from service.package.package import ModelPackage
from service.package.parts import Reference
from tests.support.embedded import unknown_package


@pytest.fixture(scope="module", name="manifest")
def _manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return ModelPackage.load(unknown_package(tmp_path_factory.mktemp("m") / "knows")).manifest


def calibration(manifest: Manifest, **changed: Any) -> tuple[Any, ...]:
    return tuple(entry.model_copy(update=changed) for entry in manifest.calibration)


def without_embedding(manifest: Manifest) -> dict[str, Any]:
    return {"graph": Graph(stride_px=16, smallest_px=16)}


def without_the_part(_: Manifest) -> dict[str, Any]:
    return {"unknown": None}


def a_graph_s_name(manifest: Manifest) -> dict[str, Any]:
    assert manifest.unknown is not None
    return {"unknown": manifest.unknown.model_copy(update={"file": "model.onnx"})}


def a_path(manifest: Manifest) -> dict[str, Any]:
    assert manifest.unknown is not None
    return {"unknown": manifest.unknown.model_copy(update={"file": "../unknown.npy"})}


def too_large(manifest: Manifest) -> dict[str, Any]:
    assert manifest.unknown is not None
    return {"unknown": manifest.unknown.model_copy(update={"size_bytes": 2**20 + 1})}


def a_spread_that_makes_scores_infinite(manifest: Manifest) -> dict[str, Any]:
    assert manifest.unknown is not None
    logit = manifest.unknown.logit.model_copy(update={"spread": 1e-320})
    return {"unknown": manifest.unknown.model_copy(update={"logit": logit})}


def a_rate_out_of_the_curve(manifest: Manifest) -> dict[str, Any]:
    assert manifest.unknown is not None
    return {"unknown": manifest.unknown.model_copy(update={"known_rate": 0.999})}


def other_classes(manifest: Manifest) -> dict[str, Any]:
    reference = Reference(images=1, top_probability=(0.05,) * 20, classes=(0.5, 0.5))
    return {"calibration": calibration(manifest, reference=reference)}


def multi_label(_: Manifest) -> dict[str, Any]:
    return {"task": "multi_label"}


def version_1(_: Manifest) -> dict[str, Any]:
    return {"schema_version": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_embedding, "no graph.embedding"),
        (without_the_part, "the manifest has no unknown part"),
        (a_graph_s_name, "a plain name ending in .npy"),
        (a_path, "a plain name ending in .npy"),
        (too_large, "1048576"),
        (a_spread_that_makes_scores_infinite, "unknown.logit.spread"),
        (a_rate_out_of_the_curve, "does not reach unknown.known_rate 0.999"),
        (other_classes, "a reference of 2 classes, but there are 3 labels"),
        (multi_label, "an unknown curve, but the model is multi_label"),
        (version_1, "schema_version 1 has no graph"),
    ],
)
def test_a_contradiction_is_refused(manifest: Manifest, change: Any, message: str) -> None:
    content = manifest.model_copy(update=change(manifest)).model_dump()
    with pytest.raises(ValidationError, match=message):
        Manifest.model_validate(content)


def test_a_manifest_with_an_unknown_score_can_be_read_again(
    manifest: Manifest, tmp_path: Path
) -> None:
    assert Manifest.model_validate_json(manifest.model_dump_json(), strict=True) == manifest
