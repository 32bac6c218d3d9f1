"""An inference request of the Open Inference Protocol, read from its body.

The body is JSON, or JSON followed by the input's bytes (the binary tensor extension). Nothing is
ignored: if a request asks for something that is not supported, the error names it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

from service.api.oip.json_body import read_json
from service.api.oip.tensors import DATATYPES, Input
from service.console.nearest import did_you_mean
from service.errors import UsageError
from service.inference.options import Options
from service.number_text import whole_number

OUTPUT = "probabilities"
SCORE, FLAG, EMBEDDING = "unknown_score", "is_unknown", "embedding"
SET = "prediction_set"
OUTPUTS = (OUTPUT, SCORE, FLAG, SET, EMBEDDING)
MAX_ID_CHARACTERS = 1000
OPTIONS = frozenset(Options.model_fields)
"""The options of `/classify` that are request parameters here."""
# Keys that clients of other servers add to the protocol's own. Ignoring them changes no answer.
REQUEST_KEYS = ("id", "parameters", "inputs", "outputs", "model_name", "model_version")
REQUEST_PARAMETERS = (*sorted(OPTIONS), "binary_data_output", "timeout", "content_type")
INPUT_KEYS = ("name", "shape", "datatype", "parameters", "data")
INPUT_PARAMETERS = ("binary_data_size", "content_type")
OUTPUT_KEYS = ("name", "datatype", "parameters")
OUTPUT_PARAMETERS = ("binary_data", "classification", "content_type")


@dataclass(frozen=True)
class Output:
    """An output that the answer has, and how it is written."""

    binary: bool = False
    classes: int = 0
    """The classification extension: this many of the likeliest classes as text. 0: numbers."""
    name: str = OUTPUT
    if_there: bool = False
    """The request names no outputs: leave this one out where the model does not give it."""


@dataclass(frozen=True)
class Inference:
    """A request after it was read."""

    id: str
    input: Input
    outputs: tuple[Output, ...]
    """In the order of the answer."""
    options: dict[str, str]
    timeout_s: float | None
    """Triton's `timeout`."""
    model_name: str
    model_version: str
    """Both are empty if the body does not repeat them."""

    def deadline_s(self, most_s: float) -> float:
        """The time that the request has: `most_s`, or its own shorter one."""
        return most_s if self.timeout_s is None else min(self.timeout_s, most_s)

    def check_model(self, name: str, version: str) -> None:
        """Raises UsageError if the body names another model than the path."""
        if self.model_name not in ("", name) or self.model_version not in ("", version):
            raise UsageError(
                f"the path names the model {name} {version}, but the body "
                f"{self.model_name[:80]!r} {self.model_version[:80]!r}"
            )


def read_request(body: bytes, json_bytes: int) -> Inference:
    """Read a request whose JSON is `body[:json_bytes]`.

    Raises:
        UsageError: the body does not follow the protocol, or needs something unsupported.
    """
    content = _object(read_json(body, json_bytes), "the body", REQUEST_KEYS, required=True)
    parameters = _object(content.get("parameters"), "parameters", REQUEST_PARAMETERS)
    binary = memoryview(body)[json_bytes:]
    return Inference(
        id=_text(content, "id", MAX_ID_CHARACTERS),
        input=_read_input(_list(content.get("inputs"), "inputs"), binary),
        outputs=_read_outputs(content.get("outputs"), parameters),
        options={name: _option(name, parameters[name]) for name in OPTIONS & parameters.keys()},
        timeout_s=_timeout_s(parameters.get("timeout")),
        model_name=_text(content, "model_name", MAX_ID_CHARACTERS),
        model_version=_text(content, "model_version", MAX_ID_CHARACTERS),
    )


def json_length(header: str | None, body_bytes: int) -> int:
    """The bytes of JSON at the start of a body, from `Inference-Header-Content-Length`.

    Raises:
        UsageError: not a whole number, or more than the body has.
    """
    if header is None:
        return body_bytes
    length = whole_number(header, 0, body_bytes)
    if length is None:
        raise UsageError(
            "Inference-Header-Content-Length must be a whole number up to the body's "
            f"{body_bytes} bytes, but got {header[:40]!r}"
        )
    return length


def _read_input(inputs: list[Any], binary: memoryview) -> Input:
    if len(inputs) != 1:
        raise UsageError(f"send one input, images or encoded, but got {len(inputs)}")
    tensor = _object(inputs[0], "an input", INPUT_KEYS, required=True)
    name, datatype = tensor.get("name"), tensor.get("datatype")
    if not isinstance(name, str) or DATATYPES.get(name) != datatype:
        raise UsageError(
            "inputs are images (UINT8) or encoded (BYTES), "
            f"but got {_shown(name)} ({_shown(datatype)})"
        )
    shape = _list(tensor.get("shape"), "shape")
    if not all(type(side) is int and 0 <= side < 2**31 for side in shape):
        raise UsageError(f"the shape of {name} must be a list of whole numbers")
    parameters = _object(tensor.get("parameters"), f"the parameters of {name}", INPUT_PARAMETERS)
    size, data = parameters.get("binary_data_size"), tensor.get("data")
    if size is None:
        if len(binary):
            raise UsageError(
                f"{len(binary)} bytes follow the JSON, but {name} has no binary_data_size"
            )
        if data is None:
            raise UsageError(f"{name} has neither data nor binary_data_size")
        return Input(name, tuple(shape), None, data)
    if type(size) is not int or size != len(binary):
        raise UsageError(
            f"binary_data_size of {name} is {_shown(size)}, but {len(binary)} bytes follow the JSON"
        )
    if data is not None:
        raise UsageError(f"{name} has both data and binary_data_size; send one of them")
    return Input(name, tuple(shape), binary)


def _read_outputs(outputs: Any, parameters: dict[str, Any]) -> tuple[Output, ...]:
    """The outputs that a request names; without any, all except the long embeddings."""
    binary = _flag(parameters, "binary_data_output")
    asked = [] if outputs is None else _list(outputs, "outputs")
    if not asked:
        more = (Output(binary, name=name, if_there=True) for name in (SCORE, FLAG, SET))
        return (Output(binary), *more)
    if len(asked) > len(OUTPUTS):
        raise UsageError(f"ask for each output once, but got {len(asked)} outputs")
    found = tuple(_read_output(one, binary) for one in asked)
    for number, one in enumerate(found):
        if one.name in {other.name for other in found[:number]}:
            raise UsageError(f"ask for the output {one.name!r} once")
    return found


def _read_output(asked: Any, binary: bool) -> Output:
    output = _object(asked, "an output", OUTPUT_KEYS, required=True)
    name = output.get("name")
    if not isinstance(name, str) or name not in OUTPUTS:
        raise UsageError(f"no output {_shown(name)}; there are: {', '.join(OUTPUTS)}")
    own = _object(output.get("parameters"), "the parameters of an output", OUTPUT_PARAMETERS)
    classes = own.get("classification", 0)
    if type(classes) is not int or classes < 0:
        raise UsageError(
            f"classification must be a whole number of classes, but got {_shown(classes)}"
        )
    if classes and name != OUTPUT:
        raise UsageError(f"classification is for the output {OUTPUT}, but got it for {name}")
    return Output(_flag(own, "binary_data", default=binary), classes, name)


def _option(name: str, value: Any) -> str:
    """The text of an option, as `/classify` has it in its query."""
    if isinstance(value, str):
        return value
    if type(value) is int or isinstance(value, Decimal):
        return str(value)
    raise UsageError(f"the parameter {name} must be text or a number, but got {_shown(value)}")


def _timeout_s(value: Any) -> float | None:
    """Triton's `timeout`, in microseconds; 0 is the server's own."""
    if value is None or (type(value) is int and value == 0):
        return None
    if type(value) is not int or not 0 < value < 10**15:
        raise UsageError(f"timeout must be a whole number of microseconds, but got {_shown(value)}")
    return value / 1e6


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be true or false, but got {_shown(value)}")
    return value


def _text(content: dict[str, Any], key: str, most: int) -> str:
    value = content.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most:
        raise UsageError(f"{key} must be text of up to {most} characters, but got {_shown(value)}")
    return value


def _object(
    value: Any, what: str, known: tuple[str, ...], *, required: bool = False
) -> dict[str, Any]:
    """A JSON object with no key but the `known`; null is the same as absent."""
    if value is None and not required:
        return {}
    if not isinstance(value, dict):
        raise UsageError(f"{what} must be a JSON object, but got {_shown(value)}")
    content = cast(dict[str, Any], value)
    for key in content:
        if key not in known:
            hint = did_you_mean(key, known) or f"known: {', '.join(known)}"
            raise UsageError(f"{what} may not have {_shown(key)}; {hint}")
    return content


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise UsageError(f"{what} must be a JSON list, but got {_shown(value)}")
    return cast(list[Any], value)


def _shown(value: Any) -> str:
    """A value for a message, cut to a short length."""
    match value:
        case str():
            return repr(value[:80])
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int():
            return str(value) if abs(value) < 10**40 else "a number of more than 40 digits"
        case Decimal():
            return str(value)[:40]
        case dict():
            return "an object"
        case _:
            return "a list"
