"""A manifest that contradicts itself, or that JSON alone would let pass, is refused by one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ModelPackageError
from service.package.manifest_file import parse
from tests.support.tiny import tiny_package

SHIPPED = Path(__file__).parents[2] / "models/imagenette-xresnet18/manifest.json"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return (tiny_package(tmp_path_factory.mktemp("m") / "tiny") / "manifest.json").read_text()


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The manifest of a multi-label package."""
    folder = tiny_package(tmp_path_factory.mktemp("m") / "tiny", task="multi_label")
    return (folder / "manifest.json").read_text()


def changed(text: str, change: Change) -> bytes:
    content = json.loads(text)
    change(content)
    return json.dumps(content).encode()


def refusal(data: bytes) -> str:
    """What is wrong with the manifest in `data`; empty where nothing is."""
    try:
        parse(data, "manifest.json")
    except ModelPackageError as error:
        return str(error)
    return ""


def fitted(content: dict[str, Any], mode: str) -> dict[str, Any]:
    """The first calibration of `mode`."""
    return next(entry for entry in content["calibration"] if entry["mode"] == mode)


def test_what_ships_and_what_tests_build_is_valid(text: str, several: str) -> None:
    for content in (SHIPPED.read_bytes(), text.encode(), several.encode()):
        parse(content, "manifest.json")


METRICS = {
    "precision": "fp32", "mode": "none", "images": 9, "top1": 0.9, "top1_interval": [0.8, 1.0],
    "nll": 0.1, "ece": 0.1,
}  # fmt: skip
WRONG: dict[str, tuple[Change, str]] = {
    "index": (lambda m: m["labels"][1].update(index=5), "must count up"),
    "same id": (lambda m: m["labels"][1].update(id="red"), "'red' is there more than once"),
    "same id but for its form": (
        lambda m: (m["labels"][0].update(id="Zu\u0308rich"), m["labels"][1].update(id="Zürich")),
        "'Zürich' is there more than once",
    ),
    "empty id": (lambda m: m["labels"][1].update(id=""), "at labels.1.id: .*at least 1 char"),
    "blank name": (lambda m: m["labels"][1].update(name="\u00a0"), "name: it must not be blank"),
    "endless name": (lambda m: m["labels"][1].update(name="x" * 501), "at labels.1.name"),
    "no labels": (lambda m: m.update(labels=[]), "at labels"),
    "precision twice": (
        lambda m: m["files"][1].update(precision="fp32"),
        "files has fp32 more than once",
    ),
    "file twice": (lambda m: m["files"][1].update(file="model.onnx"), "model.onnx more than once"),
    "path up": (lambda m: m["files"][0].update(file="../model.onnx"), "plain name"),
    "absolute path": (lambda m: m["files"][0].update(file="/etc/model.onnx"), "plain name"),
    "no size": (lambda m: m["files"][0].update(size_bytes=0), "at files.0.size_bytes"),
    "huge side": (lambda m: m["input"].update(resize_px=3168), "at input.resize_px.*3136"),
    "crop over resize": (lambda m: m["input"].update(crop_px=128), "at least crop_px"),
    "size is a boolean": (lambda m: m["files"][0].update(size_bytes=True), "valid integer"),
    "size is text": (lambda m: m["input"].update(crop_px="64"), "valid integer"),
    "std of zero": (lambda m: m["normalization"].update(std=[1, 0, 1]), "greater than 0"),
    "temperature of zero": (lambda m: fitted(m, "none").update(temperature=0), "at cal.*0.001"),
    "icy temperature": (lambda m: fitted(m, "none").update(temperature=5e-324), "at cal.*0.001"),
    "hot temperature": (lambda m: fitted(m, "none").update(temperature=1e9), "at calib.*1000"),
    "hot second": (lambda m: fitted(m, "adaptive").update(second_temperature=1e9), "1000"),
    "falling quantiles": (
        lambda m: fitted(m, "none").update(conformal={"0.9": 0.5, "0.95": 0.4}),
        "a smaller quantile for a larger coverage",
    ),
    "interval": (
        lambda m: m.update(metrics=[METRICS | {"top1_interval": [0.9, 0.8]}]),
        "ends before it begins",
    ),
    "weights": (
        lambda m: fitted(m, "five_crop").update(view_weights=[0.25] * 4),
        "five_crop at fp32 has 4 view_weights for 5 views",
    ),
    "weights of ten": (
        lambda m: fitted(m, "ten_crop").update(view_weights=[0.1] * 9 + [0.3]),
        "sum to 1.2, not to 1",
    ),
    "negative weight": (
        lambda m: fitted(m, "dense").update(view_weights=[-1, 0.5, 0.5, 0.5, 0.5]),
        "greater than or equal to 0",
    ),
    "weights of custom": (
        lambda m: fitted(m, "custom").update(view_weights=[1.0]),
        "no fixed number of views",
    ),
    "calibrated twice": (
        lambda m: m["calibration"].append(m["calibration"][0]),
        "calibration has fp32 none more than once",
    ),
    "coverage": (lambda m: fitted(m, "none").update(conformal={"95%": 0.5}), "coverage '95%'"),
    "coverage of one": (lambda m: fitted(m, "none").update(conformal={"1": 0.5}), "coverage '1'"),
    "coverage spelt twice": (
        lambda m: fitted(m, "none").update(conformal={"0.90": 0.5}),
        "coverage '0.90'",
    ),
    "quantile": (lambda m: fitted(m, "none").update(conformal={"0.9": 1.5}), "less than or equal"),
    "gate of none": (
        lambda m: fitted(m, "none").update(gate=fitted(m, "adaptive")["gate"]),
        "only adaptive has one",
    ),
    "free gate": (
        lambda m: fitted(m, "adaptive")["gate"].update(expected_cost=0),
        "greater than 0",
    ),
    "thresholds": (
        lambda m: fitted(m, "none").update(thresholds={"mean": [0.5] * 3}),
        "but the model is single_label",
    ),
    "metrics of the other task": (
        lambda m: m.update(multi_label_metrics=[{
            "precision": "fp32", "mode": "none", "images": 1, "map": 1, "map_interval": [1, 1],
            "micro_f1": 1, "macro_f1": 1, "nll": 0,
        }]),
        "a single_label model has no multi_label_metrics",
    ),
    "accuracy of 90": (lambda m: m.update(metrics=[METRICS | {"top1": 90}]), "at metrics.0.top1"),
    "measured twice": (lambda m: m.update(metrics=[METRICS, METRICS]), "fp32 none more than once"),
    "default custom": (lambda m: m.update(default_mode="custom"), "cannot be custom"),
    "default without a gate": (
        lambda m: m.update(default_mode="adaptive", calibration=[]),
        "no calibration has a gate",
    ),
    "first crop": (
        lambda m: m.update(adaptive={"first_px": 64, "first_crop_px": 96}),
        "at most first_px",
    ),
    "no first crop": (
        lambda m: m.update(adaptive={"first_px": 64, "first_crop_px": 0}),
        "greater than 0",
    ),
    "typo": (lambda m: m.update(calibrations=[]), "at calibrations"),
    "newer": (lambda m: m.update(schema_version=3), "at schema_version"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_contradiction_is_named(text: str, what: str) -> None:
    change, message = WRONG[what]
    with pytest.raises(ModelPackageError, match=message) as caught:
        parse(changed(text, change), "manifest.json")
    assert str(caught.value).startswith("manifest.json is invalid")
    assert "\n" not in str(caught.value)


WRONG_LABELS: dict[str, tuple[Change, str]] = {
    "too few thresholds": (
        lambda m: fitted(m, "none").update(thresholds={"mean": [0.5] * 2}),
        "a threshold for each of 3 classes",
    ),
    "separator": (lambda m: m["labels"][0].update(id="a;b"), "tables separate labels"),
    "space": (lambda m: m["labels"][0].update(id=" a"), "tables separate labels"),
    "prediction sets": (
        lambda m: fitted(m, "none").update(conformal={"0.9": 0.5}),
        "the model is multi_label",
    ),
    "single-label metrics": (lambda m: m.update(metrics=[METRICS]), "has no metrics"),
    "adaptive": (lambda m: m.update(default_mode="adaptive"), "does not have"),
    "a stranger": (
        lambda m: m.update(multi_label_metrics=[{
            "precision": "fp32", "mode": "none", "images": 1, "map": 1, "map_interval": [1, 1],
            "micro_f1": 1, "macro_f1": 1, "nll": 0, "average_precision": {"pink": 1},
        }]),
        "name 'pink', which is the id of no label",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG_LABELS)
def test_a_contradiction_of_a_multi_label_model_is_named(several: str, what: str) -> None:
    change, message = WRONG_LABELS[what]
    with pytest.raises(ModelPackageError, match=message):
        parse(changed(several, change), "manifest.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is invalid: Expecting value"),
        (b"[]", "is invalid: Input should be an object"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b"{" * 50, "Expecting property name"),
        (b"[" * 500_000, "nested too deeply"),
        (b'{"name": NaN}', "NaN is not a JSON number"),
        (b'{"name": 1e999}', "1e999 is too large"),
        (b'{"provenance": {"a": 1, "a": 2}}', "'a' is there more than once"),
        (b'{"name": ' + b"9" * 5000 + b"}", "is invalid"),
        (b'{"name": "\\ud800"}', "is invalid"),
    ],
)
def test_what_is_no_strict_json_is_one_line(data: bytes, message: str) -> None:
    with pytest.raises(ModelPackageError, match=message) as caught:
        parse(data, "manifest.json")
    assert len(str(caught.value)) < 300


def test_a_key_that_is_there_twice_does_not_win(text: str) -> None:
    twice = text.replace('"version"', '"version": "7", "version"', 1).encode()
    with pytest.raises(ModelPackageError, match="'version' is there more than once"):
        parse(twice, "manifest.json")


def test_a_byte_order_mark_is_no_part_of_the_manifest(text: str) -> None:
    assert parse(b"\xef\xbb\xbf" + text.encode(), "m") == parse(text.encode(), "m")


@given(st.data())
def test_no_value_at_any_place_is_a_traceback(data: st.DataObject) -> None:
    """Every leaf replaced by something else: valid, or refused by one line."""
    content = json.loads(SHIPPED.read_text())
    place: Any = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(place[key], dict | list) or not place[key]:
            break
        place = place[key]
    place[key] = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
        | st.lists(st.integers(), max_size=2) | st.dictionaries(st.text(max_size=3), st.none())
    )  # fmt: skip
    assert "\n" not in refusal(json.dumps(content).encode("utf-8", "surrogatepass"))


@given(st.integers(0, SHIPPED.stat().st_size), st.binary(max_size=4))
def test_no_damage_to_the_bytes_is_a_traceback(at: int, junk: bytes) -> None:
    data = SHIPPED.read_bytes()
    for damaged in (data[:at], data[:at] + junk + data[at + len(junk) :]):
        assert "\n" not in refusal(damaged)
