"""The status of an error follows from its place in the tree."""

import pytest

from service.errors import ClientError, HeadersTooLarge, RequestTimeout, TargetTooLong


@pytest.mark.parametrize(
    ("error", "status"), [(HeadersTooLarge, 431), (RequestTimeout, 408), (TargetTooLong, 414)]
)
def test_refusals_of_the_transport_are_errors_of_the_sender(
    error: type[ClientError], status: int
) -> None:
    assert issubclass(error, ClientError)
    assert error.status == status
