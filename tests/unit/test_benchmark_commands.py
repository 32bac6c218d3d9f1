"""How a page of results quotes the command that made it."""

import pytest

from benchmarks.arguments import command_line


@pytest.mark.parametrize(
    ("given", "quoted"),
    [
        (["models/mine", "--rounds", "3"], "models/mine --rounds 3"),
        (["/home/me/photos/", "--base", "/tmp/old tree"], "photos --base 'old tree'"),
        (["models/mine", "--out", "/home/me/results", "--rounds", "3"], "models/mine --rounds 3"),
        (["models/mine", "--out=results"], "models/mine"),
    ],
)
def test_no_path_of_this_machine_is_quoted(given: list[str], quoted: str) -> None:
    assert command_line("scoring", given) == f"python -m benchmarks.scoring {quoted}"
