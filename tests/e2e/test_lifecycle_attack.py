"""The quick attacks of `benchmarks.service` on a server's life, on a tiny package."""

from pathlib import Path

import pytest

from benchmarks.service.attack import lifecycle as lifecycle_attack
from benchmarks.service.attack import surroundings as lifecycle_places
from benchmarks.service.attack.lifecycle import Attack, Scenario
from tests.support.images import coloured, encoded

QUICK = (
    lifecycle_attack.broken_packages,
    lifecycle_attack.ended,
    lifecycle_places.full_log,
    lifecycle_places.few_files,
)


@pytest.mark.parametrize("scenario", QUICK, ids=lambda scenario: scenario.__name__)
def test_the_server_holds(scenario: Scenario, package: Path, tmp_path: Path) -> None:
    verdicts = scenario(Attack(package, encoded(coloured("red")), tmp_path))
    assert verdicts
    assert not [verdict for verdict in verdicts if not verdict.kept]


def test_every_scenario_is_listed() -> None:
    listed = [*lifecycle_attack.SCENARIOS, *lifecycle_places.SCENARIOS]
    assert set(QUICK) < set(listed)
    assert len({scenario.__name__ for scenario in listed}) == len(listed) == 11
