"""A request of `POST /feedback`, checked."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import TooLarge, UsageError
from service.feedback.given import GivenAnswer, joined
from service.package.manifest import Precision

MAX_BYTES = 64 * 1024
SHOWN = 80

Text = Annotated[str, Field(min_length=1, max_length=2000)]
Share = Annotated[float, Field(ge=0, le=1.000001)]


class SentLabel(BaseModel):
    """A class of a multi-label answer. Its further fields are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, title=None)

    label: Text


class SentUnknown(BaseModel):
    """The unknown score of an answer. Its further fields are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, title=None)

    score: Annotated[float, Field(allow_inf_nan=False)]
    is_unknown: bool
    known_rate: Share


class SentAnswer(BaseModel):
    """The answer, as the client got it. Further fields of the answer are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True, title=None)

    model: Text = Field(pattern="^[^@]+@[^@]+$", description="NAME@VERSION")
    label: Text = Field(description="The id of the likeliest class")
    labels: list[SentLabel | Text] | None = Field(
        default=None, description="Multi-label models: the classes of the answer, or their ids"
    )
    probability: Share | None = None
    precision: Precision | None = None
    tta_applied: str | None = Field(default=None, max_length=40)
    unknown: SentUnknown | None = Field(
        default=None, description="The unknown score of the answer, if it has one"
    )

    def classes(self) -> list[str]:
        """The ids of the classes in the answer."""
        if self.labels is None:
            return [self.label]
        return [one if isinstance(one, str) else one.label for one in self.labels]

    def given(self) -> GivenAnswer:
        """The facts of the answer. The time of the answer is not known."""
        return GivenAnswer(
            model=self.model,
            label=joined(self.classes()),
            probability=self.probability,
            precision=self.precision,
            tta=self.tta_applied,
            unknown_score=self.unknown and self.unknown.score,
            is_unknown=self.unknown and self.unknown.is_unknown,
            known_rate=self.unknown and self.unknown.known_rate,
        )


class FeedbackRequest(BaseModel):
    """What a user says about one answer."""

    model_config = ConfigDict(extra="forbid", strict=True, title=None)

    request_id: str = Field(
        pattern=r"^[A-Za-z0-9._-]{1,64}$", description="The id of the request that got the answer"
    )
    image: int = Field(
        default=0, ge=0, lt=2**31, description="The position of the image in its request, from 0"
    )
    label: Text | None = Field(
        default=None,
        description="The right class, by id or name; of a multi-label model several, separated by "
        "`;`. Without `label`, `index` and `foreign`: the answer is wrong, and the right class is "
        "not known",
    )
    index: int | None = Field(
        default=None, ge=0, lt=2**31, description="The right class, by its index in the logits"
    )
    foreign: bool = Field(default=False, description="None of the model's classes is right")
    note: Annotated[str, Field(max_length=500)] | None = Field(
        default=None, description="Text that is stored as it is"
    )
    answer: SentAnswer | None = Field(
        default=None,
        description="The complete answer, if the server no longer remembers it. An answer that "
        "the server remembers counts instead",
    )


def read_feedback_request(body: bytes) -> FeedbackRequest:
    """Parse a body.

    Raises:
        TooLarge: over `MAX_BYTES`.
        UsageError: no JSON, an unknown or missing field, or fields that do not go together.
    """
    if len(body) > MAX_BYTES:
        raise TooLarge(f"feedback may have {MAX_BYTES} bytes, but this has {len(body)}")
    try:
        said = FeedbackRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the body"
        raise UsageError(f"{where[:SHOWN]}: {first['msg'][:300]}") from None
    named = [
        name
        for name, given in (
            ("label", said.label is not None),
            ("index", said.index is not None),
            ("foreign", said.foreign),
        )
        if given
    ]
    if len(named) > 1:
        raise UsageError(f"send one of {' and '.join(named)}, not both")
    return said
