"""The unknown score: its arithmetic, its curve, and the manifest's part about it."""

import io
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from service.errors import ModelPackageError, UsageError
from service.inference.options import Options
from service.inference.unknown import Unknown, UnknownScorer, as_bytes, measures, threshold_at
from service.package.manifest import ModeCalibration
from service.package.parts import Reference, Scale, UnknownModel

CHANNELS, DIRECTIONS = 12, 3
RANDOM = np.random.default_rng(5)
BASIS = np.linalg.qr(RANDOM.normal(size=(CHANNELS, DIRECTIONS)))[0].T
MEAN = RANDOM.normal(size=CHANNELS)
CURVE = ((0.5, -1.0), (0.9, 1.0), (0.99, 4.0))


def model_of(data: bytes, **changed: Any) -> UnknownModel:
    return UnknownModel(
        file="unknown.npy", size_bytes=len(data), sha256="0" * 64,
        logit=Scale(centre=-4, spread=2), residual=Scale(centre=0.5, spread=0.25),
        images=10, held_out=True, **changed,
    )  # fmt: skip


def scorer(**changed: Any) -> UnknownScorer:
    data = as_bytes(MEAN, BASIS)
    return UnknownScorer.read(model_of(data, **changed), data, CHANNELS, "unknown.npy")


def test_the_residual_is_the_distance_from_the_directions() -> None:
    embeddings, logits = RANDOM.normal(size=(7, CHANNELS)), RANDOM.normal(size=(7, 4))
    top, residual = measures(embeddings, logits, MEAN, BASIS)
    away = embeddings - MEAN
    left = away - away @ BASIS.T @ BASIS
    np.testing.assert_allclose(residual, np.log(np.linalg.norm(left, axis=1)), atol=1e-9)
    np.testing.assert_array_equal(top, -logits.max(1))


def test_the_score_adds_both_measures_in_units_of_their_spread() -> None:
    embedding, logits = RANDOM.normal(size=CHANNELS), np.array([1.0, 3.0])
    stored = scorer()
    _, residual = measures(embedding, logits, stored.mean, stored.directions)
    expected = (-3.0 + 4) / 2 + 2 * (residual - 0.5) / 0.25
    assert float(stored.score(embedding, logits)) == pytest.approx(float(expected))


def test_an_image_along_the_directions_is_more_known_than_one_beside_them() -> None:
    logits, stored = np.array([2.0, 0.0]), scorer()
    beside = np.linalg.svd(BASIS)[2][-1]
    known = stored.score(MEAN + 0.9 * BASIS[0] + 0.1 * beside, logits)
    assert stored.score(MEAN + 0.1 * BASIS[0] + 0.9 * beside, logits) > known + 1


def test_many_answers_are_scored_at_once() -> None:
    embeddings, logits = RANDOM.normal(size=(5, CHANNELS)), RANDOM.normal(size=(5, 3))
    one_by_one = [scorer().score(e, x) for e, x in zip(embeddings, logits, strict=True)]
    np.testing.assert_allclose(scorer().score(embeddings, logits), one_by_one)


def written(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def header(text: bytes, more: int = 0) -> bytes:
    """A file of version 1.0 with this header, and so many bytes after it."""
    return b"\x93NUMPY\x01\x00v\x00" + text.ljust(117) + b"\n" + bytes(more)


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "not what the manifest says"),
    "other bytes": (b"PK\x03\x04" * 20, "not what the manifest says"),
    "pickled": (written(np.array([None, {}], object)), "holds object"),
    "float32": (written(np.zeros((2, CHANNELS), np.float32)), "holds float32"),
    "one axis": (written(np.zeros(CHANNELS, np.float16)), "holds float16"),
    "no rows": (written(np.zeros((0, CHANNELS), np.float16)), "holds float16"),
    "columns first": (written(np.asfortranarray(np.zeros((3, CHANNELS), np.float16))), "must hold"),
    "cut": (as_bytes(MEAN, BASIS)[:-2], "bytes follow"),
    "longer": (as_bytes(MEAN, BASIS) + b"xx", "bytes follow"),
    "too few channels": (as_bytes(MEAN[:4], BASIS[:, :4]), "graph.embedding is 12"),
    "a broken header": (header(b"{'descr': '<f2\0', 'fortran"), "header is broken"),
    "a header with a call": (header(b"{'shape': open('x')}"), "header is broken"),
    "a shape of truth values": (
        header(b"{'descr': '<f2', 'fortran_order': False, 'shape': (True, 12), }", 24),
        "must hold",
    ),
    "longer directions": (as_bytes(MEAN, 2 * BASIS), "orthonormal"),
    "directions at other angles": (as_bytes(MEAN, BASIS + 0.2), "orthonormal"),
    "more directions than channels": (
        as_bytes(MEAN, np.ones((CHANNELS + 1, CHANNELS))),
        "orthonormal",
    ),
    "infinite": (written(np.full((2, CHANNELS), np.inf, np.float16)), "finite"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_refused(what: str) -> None:
    data, message = BROKEN[what]
    with pytest.raises(ModelPackageError, match=message):
        UnknownScorer.read(model_of(b"x"), data, CHANNELS, "unknown.npy")


def test_a_header_that_claims_more_than_the_file_allocates_nothing() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f2", "fortran_order": False, "shape": (2**40, CHANNELS)}
    )
    with pytest.raises(ModelPackageError, match="bytes follow"):
        UnknownScorer.read(model_of(b"x"), stream.getvalue(), CHANNELS, "unknown.npy")


@pytest.mark.parametrize(
    ("rate", "threshold"), [(0.5, -1.0), (0.7, 0.0), (0.9, 1.0), (0.945, 2.5), (0.99, 4.0)]
)
def test_a_known_rate_moves_along_the_curve(rate: float, threshold: float) -> None:
    assert threshold_at(CURVE, rate) == pytest.approx(threshold)


@pytest.mark.parametrize("rate", [0.0, 0.499, 0.991, 1.0])
def test_a_known_rate_out_of_the_curve_names_the_range(rate: float) -> None:
    with pytest.raises(UsageError, match=r"from 0\.5 to 0\.99 for this model and mode, or off"):
        threshold_at(CURVE, rate)


def test_a_known_rate_just_above_the_curve_is_named_with_all_digits() -> None:
    with pytest.raises(UsageError, match=r"got 0\.99000001"):
        threshold_at(CURVE, 0.99000001)


def test_the_answer_names_its_fields() -> None:
    assert Unknown(1.5, 1.0, True, 0.95).as_json() == {
        "score": 1.5, "threshold": 1.0, "is_unknown": True, "known_rate": 0.95,
    }  # fmt: skip


@pytest.mark.parametrize("rate", [0, 0.5, 1, "off", np.float64(0.9), None])
def test_a_known_rate_is_a_share_or_off(rate: Any) -> None:
    assert Options(known_rate=rate).known_rate == rate


@pytest.mark.parametrize("rate", [-0.1, 1.1, "on", "0.9", True, float("nan"), [0.9]])
def test_any_other_known_rate_is_refused(rate: Any) -> None:
    with pytest.raises(UsageError, match="known_rate"):
        Options(known_rate=rate)


CURVES: dict[str, Any] = {
    "empty": (),
    "rates fall": ((0.9, 1.0), (0.5, 2.0)),
    "a rate twice": ((0.9, 1.0), (0.9, 2.0)),
    "thresholds fall": ((0.5, 2.0), (0.9, 1.0)),
    "a rate over 1": ((0.5, 1.0), (1.5, 2.0)),
    "NaN": ((0.5, float("nan")),),
}


@pytest.mark.parametrize("what", CURVES)
def test_a_curve_that_does_not_rise_is_refused(what: str) -> None:
    with pytest.raises(ValidationError):
        ModeCalibration(precision="fp32", mode="none", unknown_curve=CURVES[what])


def test_a_reference_has_a_bin_for_each_edge_and_one_more() -> None:
    bins = (0.05,) * 20
    found = Reference(
        images=5,
        top_probability=bins,
        classes=(1.0,),
        unknown_edges=(0, 1),
        unknown=(0.5, 0.4, 0.1),
    )
    assert sum(found.unknown) == pytest.approx(1)
    for edges, shares in (((1.0, 0.0), (0.5, 0.4, 0.1)), ((0.0,), (1.0,)), ((), (1.0,))):
        with pytest.raises(ValidationError):
            Reference(
                images=5, top_probability=bins, classes=(1.0,), unknown_edges=edges, unknown=shares
            )
