"""Percentiles and bootstrap intervals, held to what is known of made-up samples."""

import math

import numpy as np
import pytest

from service.bench.report.statistics import (
    block_length,
    mean_interval,
    paired_ratio,
    percentile,
    ratio_across_runs,
    resampled_rows,
)


def test_a_percentile_is_a_sample_that_so_many_do_not_exceed() -> None:
    samples = list(range(1, 101))
    assert [percentile(samples, p) for p in (50, 90, 99, 99.9)] == [50, 90, 99, 100]
    assert percentile([3.0], 50) == 3.0


def test_an_unanswered_request_is_an_infinite_sample() -> None:
    samples = [1.0] * 98 + [math.inf] * 2
    assert percentile(samples, 98) == 1.0
    assert percentile(samples, 99) == math.inf


def test_no_samples_have_no_percentile() -> None:
    assert math.isnan(percentile([], 50))


def test_blocks_are_drawn_whole_and_wrap_round() -> None:
    rows = resampled_rows(100, np.random.default_rng(0), 7)
    assert rows.shape == (7, 100)
    assert block_length(100) == 5
    steps = np.diff(rows.reshape(7, 20, 5), axis=2) % 100
    assert (steps == 1).all()


def test_the_interval_of_a_mean_covers_it_about_95_times_in_100() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for seed in range(100):
        interval = mean_interval(generator.exponential(10.0, size=200), seed=seed)
        covered += not interval.excludes(10.0)
    assert 86 <= covered <= 99


def test_the_interval_widens_where_neighbours_are_alike() -> None:
    generator = np.random.default_rng(2)
    independent = generator.normal(10, 1, size=1000)
    sluggish = np.repeat(generator.normal(10, 1, size=100), 10)
    assert mean_interval(sluggish).half_width > 1.5 * mean_interval(independent).half_width


def test_a_ratio_taken_within_rounds_cancels_drift() -> None:
    generator = np.random.default_rng(3)
    drift = np.linspace(1, 3, 200) * generator.uniform(0.9, 1.1, size=200)
    base = 10 * drift * generator.normal(1, 0.01, size=200)
    slower = 23 * drift * generator.normal(1, 0.01, size=200)
    ratio = paired_ratio(slower, base)
    assert ratio.value == pytest.approx(2.3, rel=0.01)
    assert ratio.half_width < 0.01
    assert not ratio.excludes(2.3)


def test_hiccups_do_not_move_a_ratio() -> None:
    generator = np.random.default_rng(4)
    base = generator.normal(10, 0.1, size=400)
    slower = generator.normal(20, 0.1, size=400)
    slower[::57] += 300
    assert paired_ratio(slower, base).value == pytest.approx(2.0, rel=0.02)
    assert (slower / base).mean() > 2.4


def test_a_mode_whose_work_varies_counts_with_its_mean() -> None:
    generator = np.random.default_rng(5)
    base = np.full(900, 10.0)
    adaptive = np.where(generator.uniform(size=900) < 0.2, 20.0, 6.0)  # a median would say 0.6
    assert paired_ratio(adaptive, base).value == pytest.approx(adaptive.mean() / 10, rel=0.03)


def test_two_equal_runs_seldom_differ_and_unequal_ones_always() -> None:
    generator = np.random.default_rng(6)
    alarms = 0
    for seed in range(30):
        first, second = generator.exponential(10, size=(2, 300))
        alarms += ratio_across_runs(first, second, seed=seed).excludes(1.0)
        assert ratio_across_runs(first * 2, second, seed=seed).excludes(1.0)
    assert alarms <= 6  # 1.5 are to be expected
