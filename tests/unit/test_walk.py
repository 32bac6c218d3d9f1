"""Glob patterns: what a wildcard matches, and that none crosses folders but `**`."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.scoring.sources.walk import glob_regex, split_glob

CHARACTERS = "ab-![]\\*?.\n"


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*", "a"),
        ("**", "a/b/c"),
        ("**/*.jpg", "a.jpg"),
        ("**/*.jpg", "a/b/c.jpg"),
        ("**.jpg", "a/b/c.jpg"),
        ("a/**/b", "a/b"),
        ("[!a]", "b"),
        ("[^a]", "b"),
        ("[!]a]", "b"),
        ("[[^a]", "^"),
        ("[]a]", "]"),
        ("[[a]", "["),
        ("[a", "[a"),
        ("[!]", "[!]"),
        ("\\*", "\\x"),
        ("*", "\udcff\n"),
    ],
)
def test_a_pattern_matches(pattern: str, path: str) -> None:
    assert glob_regex(pattern).fullmatch(path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*", "a/b"),
        ("a?b", "a/b"),
        ("a[!b]b", "a/b"),
        ("a[+-9]b", "a/b"),  # the slash lies between + and 9
        ("a[/]b", "a/b"),
        ("[!]a]", "]"),
        ("[z-a]", "m"),
        ("**/b", "ab"),
        ("a.b", "axb"),
    ],
)
def test_a_pattern_does_not_match(pattern: str, path: str) -> None:
    assert not glob_regex(pattern).fullmatch(path)


@given(st.text(CHARACTERS), st.text(CHARACTERS))
def test_within_one_folder_patterns_mean_what_fnmatch_makes_of_them(
    pattern: str, name: str
) -> None:
    assert bool(glob_regex(pattern).fullmatch(name)) == fnmatch.fnmatchcase(name, pattern)


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("*.jpg", ("", "*.jpg")),
        ("/*.jpg", ("/", "*.jpg")),
        ("a/b/c*/d", ("a/b", "c*/d")),
        ("s3://bucket/a/**/b.jpg", ("s3://bucket/a", "**/b.jpg")),
    ],
)
def test_a_pattern_is_split_at_its_first_wildcard(pattern: str, parts: tuple[str, str]) -> None:
    assert split_glob(pattern) == parts
