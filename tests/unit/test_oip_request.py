"""Inference requests: everything in a body is used, or named in an error."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.oip.json_body import MAX_HEAD_BYTES, read_json
from service.api.oip.numbers import NumberText
from service.api.oip.reply import check_size
from service.api.oip.request import Inference, Output, json_length, read_request
from service.api.oip.tensors import Limits
from service.errors import TooLarge, UsageError

LIMITS = Limits(max_images=4, max_pixels=1000)
PIXELS = {"name": "images", "shape": [1, 1, 1, 3], "datatype": "UINT8", "data": [1, 2, 3]}
DATATYPES = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BF16", "BYTES"),
)


def read(content: Any, binary: bytes = b"") -> Inference:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_request(text + binary, len(text))


def body(tensor: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"inputs": [{**PIXELS, **(tensor or {})}], **more}


def of_bytes(size: Any, **tensor: Any) -> dict[str, Any]:
    """An `images` tensor whose bytes follow the JSON."""
    entry = {k: v for k, v in PIXELS.items() if k != "data"}
    return {"inputs": [{**entry, **tensor, "parameters": {"binary_data_size": size}}]}


def test_pixels_and_options_are_read() -> None:
    asked = read(body(id="é7", parameters={"tta": "dense", "coverage": 0.95, "gate_cost": "2"}))
    (image,) = asked.input.images(LIMITS)
    np.testing.assert_array_equal(image, [[[1, 2, 3]]])
    assert asked.id == "é7"
    assert asked.options == {"tta": "dense", "coverage": "0.95", "gate_cost": "2"}
    assert [one.name for one in asked.outputs] == [
        "probabilities", "unknown_score", "is_unknown", "prediction_set",
    ]  # fmt: skip
    assert asked.outputs[0] == Output()


def test_null_is_absent_and_what_other_clients_add_is_accepted() -> None:
    """MLServer's client writes nulls and content types, KServe's the model's name."""
    asked = read(
        body(
            {"parameters": {"content_type": "np"}},
            id=None,
            outputs=None,
            parameters=None,
            model_name="tiny",
        )
    )
    assert asked.id == ""
    asked.check_model("tiny", "1")
    with pytest.raises(UsageError, match="the body 'tiny'"):
        asked.check_model("other", "1")


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("name", ["images", "encoded"])
@pytest.mark.parametrize("binary", [True, False])
def test_no_datatype_is_cast_to_another(datatype: str, name: str, binary: bool) -> None:
    content = body({"name": name, "datatype": datatype})
    if binary:
        content = of_bytes(3, name=name, datatype=datatype)
    if (name, datatype) in (("images", "UINT8"), ("encoded", "BYTES")):
        read(content, b"abc" if binary else b"")
    else:
        with pytest.raises(UsageError, match=f"inputs are images.*'{datatype}'"):
            read(content, b"abc" if binary else b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not (a )?JSON"),
        (b"[]", "the body must be a JSON object, but got a list"),
        (b"{}", "inputs must be a JSON list, but got null"),
        (b'{"inputs": [1]}', "an input must be a JSON object, but got 1"),
        (b"null", "the body must be a JSON object, but got null"),
        (b'{"inputs": []} {}', "Extra data"),
        (b'{"id": "a", "id": "b"}', "the key 'id' twice"),
        (b'{"inputs": [{"data": [1], "data": [2]}]}', "the key 'data' twice"),
        (b'{"inputs": NaN}', "NaN and Infinity"),
        (b'{"inputs": -Infinity}', "NaN and Infinity"),
        (b'{"id": "\\ud800"}', "half of a surrogate pair"),
        (b'{"\\udfff": 1}', "half of a surrogate pair"),
        (b'{"outputs": [["\\ud83d"]]}', "half of a surrogate pair"),
        (b'{"id": "\xff"}', "UTF-8"),
        ('{"id": "a"}'.encode("utf-16"), "UTF-8"),
        ('{"id": "a"}'.encode("utf-32-le"), "not (a )?JSON"),
        (b'{"id": "\xed\xa0\x80"}', "UTF-8"),
        (b'{"id": "a\nb"}', "not (a )?JSON"),
        (b'{"id": "a', "a string does not end"),
        (b"{'id': 1}", "not (a )?JSON"),
        (b'{"id": 1' + b"0" * 5000 + b"}", "a number that is too long"),
        (b'{"id": 1e' + b"9" * 5000 + b"}", "a number that is too long"),
        (b"[" * 100_000, "limited to 65536 bytes"),
        (b"[" * 50_000, "nested too deep"),
        (b'{"a":' * 10_000, "nested too deep"),
        (b'{"id": "' + b"a" * 70_000 + b'"}', "limited to 65536 bytes"),
        (body(id=7), "id must be text of up to 1000 characters, but got 7"),
        (body(id="a" * 1001), "id must be text"),
        (body(output=[]), "the body may not have 'output'; did you mean 'outputs'"),
        (body(parameters=[]), "parameters must be a JSON object, but got a list"),
        (body(parameters={"ttta": "dense"}), "did you mean 'tta'"),
        (body(parameters={"sequence_id": 3}), "may not have 'sequence_id'"),
        (body(parameters={"priority": 1}), "may not have 'priority'"),
        (body(parameters={"tta": True}), "tta must be text or a number, but got true"),
        (body(parameters={"coverage": [0.9]}), "coverage must be text or a number"),
        (body(parameters={"timeout": 1.5}), "timeout must be a whole number"),
        (body(parameters={"timeout": True}), "timeout must be a whole number"),
        (body(parameters={"binary_data_output": 1}), "binary_data_output must be true or false"),
        (body(outputs={}), "outputs must be a JSON list"),
        (body(outputs=[{"name": "logits"}]), "no output 'logits'"),
        (body(outputs=[{}]), "no output null"),
        (body(outputs=[{"name": "probabilities"}] * 2), "the output 'probabilities' once"),
        (
            body(outputs=[{"name": "probabilities", "parameters": {"classification": -1}}]),
            "classification must be a whole number of classes, but got -1",
        ),
        (
            body(outputs=[{"name": "probabilities", "parameters": {"classification": True}}]),
            "classification must be a whole number of classes, but got true",
        ),
        (
            body(outputs=[{"name": "probabilities", "parameters": {"binary_data": "yes"}}]),
            "binary_data must be true or false, but got 'yes'",
        ),
        (
            body(outputs=[{"name": "probabilities", "parameters": {"shared_memory_region": "a"}}]),
            "may not have 'shared_memory_region'",
        ),
        ({"inputs": [PIXELS, PIXELS]}, "send one input, images or encoded, but got 2"),
        (body({"name": "pixels"}), "but got 'pixels' .'UINT8'."),
        (body({"name": {}}), "but got an object"),
        (body({"shape": [1, 1, -1, 3]}), "shape of images must be a list of whole numbers"),
        (body({"shape": [1, 1, 1.0, 3]}), "shape of images must be a list of whole numbers"),
        (body({"shape": [True, 1, 1, 3]}), "shape of images must be a list of whole numbers"),
        (body({"shape": "-1"}), "shape must be a JSON list, but got '-1'"),
        (body({"data": None}), "neither data nor binary_data_size"),
        (body({"raw": [1]}), "an input may not have 'raw'"),
        (body({"parameters": {"shared_memory_region": "x"}}), "'shared_memory_region'"),
        (of_bytes(4), "binary_data_size of images is 4, but 0 bytes follow"),
        (of_bytes("3"), "binary_data_size of images is '3'"),
        (of_bytes(3, data=[1, 2, 3]), "binary_data_size of images is 3, but 0 bytes follow"),
    ],
)
def test_what_is_not_served_is_named(content: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (body(), "3 bytes follow the JSON, but images has no binary_data_size"),
        (of_bytes(2), "binary_data_size of images is 2, but 3 bytes follow"),
        (of_bytes(3.0), "binary_data_size of images is 3.0"),
        (of_bytes(3, data=[1]), "both data and binary_data_size"),
    ],
)
def test_bytes_after_the_json_must_be_accounted_for(content: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(content, b"abc")
    with pytest.raises(UsageError, match="binary_data_size of images is true, but 1 bytes"):
        read(of_bytes(True), b"a")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        ({"data": ["a", 1, 1]}, "element 0 is the string 'a'"),
        ({"data": [[[["1", "2", "3"]]]]}, "element 0 is the string '1'"),
        ({"data": [[[[1, 2], ["x"]]]]}, "element 2 is the string 'x'"),
        ({"data": [{"b64": "AAAA"}]}, "element 0 is an object"),
        ({"data": [True, False, True]}, "element 0 is true"),
        ({"data": "AQID"}, "must be an array of numbers"),
        ({"data": {"b64": "AQID"}}, "must be an array of numbers"),
        ({"data": 7}, "must be an array of numbers"),
        ({"data": []}, "not a JSON array of numbers"),
        ({"shape": [0, 1, 1, 3]}, "at least one image"),
        ({"shape": []}, "at least one image"),
        ({"shape": [1, 3, 1, 1]}, r"shape \[N, H, W, 3\]"),
        ({"shape": [1, 0, 1, 3]}, r"shape \[N, H, W, 3\]"),
    ],
)
def test_data_that_are_no_pixels_are_named(tensor: dict[str, Any], message: str) -> None:
    asked = read(body(tensor))
    with pytest.raises(UsageError, match=message):
        asked.input.images(LIMITS)


def test_limits_hold_before_numbers_are_read() -> None:
    with pytest.raises(TooLarge, match="QUINCUNX_MAX_IMAGES"):
        read(body({"shape": [5, 1, 1, 3]})).input.images(LIMITS)
    with pytest.raises(TooLarge, match="QUINCUNX_MAX_PIXELS"):
        read(body({"shape": [1, 2, 501, 3]})).input.images(LIMITS)


def files(*parts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def encoded(raw: bytes, shape: list[int]) -> Inference:
    return read(of_bytes(len(raw), name="encoded", datatype="BYTES", shape=shape), raw)


@pytest.mark.parametrize("shape", [[2], [2, 1]])
def test_files_are_taken_from_bytes(shape: list[int]) -> None:
    assert encoded(files(b"one", b""), shape).input.images(LIMITS) == [b"one", b""]


@pytest.mark.parametrize(
    ("raw", "shape", "message"),
    [
        (files(b"one"), [2], "cut short before file 1 of 2"),
        (files(b"one", b"two"), [1], "7 bytes after the last of its 1 files"),
        (files(b"one")[:-1], [1], "file 0 has 3 bytes, but 2 follow"),
        (b"\xff\xff\xff\xff", [1], "file 0 has 4294967295 bytes"),
        (b"\x00", [1], "cut short before file 0 of 1"),
        (files(b"one"), [1, 2], "shape .N. or .N, 1."),
        (bytes(4_000_000), [1], "bytes after the last of its 1 files"),
    ],
)
def test_files_that_do_not_fit_their_shape(raw: bytes, shape: list[int], message: str) -> None:
    asked = encoded(raw, shape)
    with pytest.raises(UsageError, match=message):
        asked.input.images(LIMITS)


def test_files_as_json_are_refused() -> None:
    asked = read(body({"name": "encoded", "datatype": "BYTES", "shape": [1], "data": ["a"]}))
    with pytest.raises(UsageError, match="must be sent as binary data"):
        asked.input.images(LIMITS)


@pytest.mark.parametrize(
    "header", ["", "-1", "+1", "1e1", "0x1", "٣", "00", "11", "9" * 5000, "1 "]
)
def test_the_length_of_the_json_is_a_whole_number_within_the_body(header: str) -> None:
    with pytest.raises(UsageError, match="Inference-Header-Content-Length"):
        json_length(header, 10)
    assert json_length("10", 10) == 10
    assert json_length(None, 10) == 10


def test_the_answer_is_bounded_before_the_work() -> None:
    names = ["n" * 1000] * 20_000
    check_size([Output()], 64, names)
    check_size([Output(classes=5)], 64, names)
    with pytest.raises(TooLarge, match="send fewer images"):
        check_size([Output(classes=20_000)], 64, names)
    check_size([Output(), Output(name="prediction_set", binary=True)], 64, names)
    with pytest.raises(TooLarge, match="fewer images"):
        check_size([Output(), Output(name="prediction_set")], 64, names)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["data", "inputs", "", 'd"', "x"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(value=JSON, ascii_=st.booleans(), indent=st.sampled_from([None, 1]))
def test_every_document_is_read_as_json_reads_it(
    value: Any, ascii_: bool, indent: int | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_, indent=indent).encode()
    for start in (b"", b"\xef\xbb\xbf"):  # some clients send a byte order mark
        whole = start + text
        assert restored(read_json(whole + b"binary", len(whole))) == value


def restored(value: Any) -> Any:
    """The document with its arrays of numbers back in place."""
    if isinstance(value, NumberText):
        return json.loads(value.body[value.start : value.stop])
    if isinstance(value, dict):
        return {key: restored(item) for key, item in value.items()}
    if isinstance(value, list):
        return [restored(item) for item in value]
    return value


@given(text=st.binary(max_size=60))
def test_any_bytes_are_json_or_a_usage_error(text: bytes) -> None:
    try:
        read_json(text, len(text))
    except UsageError as error:
        str(error).encode()


@given(
    pieces=st.lists(
        st.sampled_from(['"data"', ":", "[", "]", "{", "}", ",", "1", '"', "\\", "NaN", " ", "é"]),
        max_size=30,
    )
)
def test_only_what_json_reads_is_read(pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        value = restored(read_json(text.encode(), len(text.encode())))
    except (UsageError, ValueError):  # the second: an array of numbers, read later, is broken
        return
    assert value == json.loads(text)


def test_the_head_may_be_as_long_as_the_limit() -> None:
    text = json.dumps({"a": "b" * (MAX_HEAD_BYTES - 100), "data": [1] * 100_000}).encode()
    assert isinstance(read_json(text, len(text))["data"], NumberText)
