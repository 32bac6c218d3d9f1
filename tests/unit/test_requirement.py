"""What pydantic finds wrong, in the words of our messages."""

from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import TypeAdapter, ValidationError

from service.console.requirement import requirement


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (int, "x", "must be a whole number"),
        (int, 1.5, "must be a whole number"),
        (float, "x", "must be a number"),
        (bool, "maybe", "must be true or false"),
        (str, 1, "must be text"),
        (Annotated[int, Gt(0)], 0, "must be greater than 0"),
        (Annotated[int, Ge(1)], 0, "must be at least 1"),
        (Annotated[float, Le(1)], 2, "must be at most 1"),
        (Annotated[int, Lt(86_400_000)], 86_400_000, "must be less than 86400000"),
        (Literal["a", "b", "c"], "d", "must be one of a, b, c"),
    ],
)
def test_a_wrong_value_is_described(kind: Any, value: object, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value)
    assert requirement(caught.value.errors()[0]) == text


def test_another_kind_keeps_the_message_of_pydantic() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(tuple[int, ...]).validate_python(1)
    assert requirement(caught.value.errors()[0]) == "Input should be a valid tuple"
