"""Fixtures that every kind of test shares: a tiny package and a predictor on it."""

from pathlib import Path

import pytest

from service.inference.predictor import Predictor
from tests.support.tiny import tiny_package


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny package with fp32 and int8 graphs."""
    return tiny_package(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def predictor(package: Path) -> Predictor:
    """The tiny package, opened in fp32."""
    return Predictor.from_package(package, precision="fp32", provider="cpu", threads=1)
