"""The peers' table: medians over rounds, and ratios taken within a round."""

from benchmarks.peers.__main__ import contenders
from benchmarks.peers.report import Contender, Measured, against, table

OURS, THEIRS = Contender("quincunx", "int8", "adaptive"), Contender("a", "fp32", "five_crop")
SLOW = Contender("b", "fp32", "five_crop")


def measured(one: Contender, number: int, load: str, rate: float, p99: float | None) -> Measured:
    return Measured(one, number, load, None, rate, None, p99, 0, None)


RUN = [
    measured(one, number, load, rate * (2 if number else 1), p99)
    for number in range(3)
    for one, rate, p99 in ((OURS, 80.0, 30.0), (THEIRS, 20.0, 60.0), (SLOW, 10.0, 50.0))
    for load in ("8 users", "70% load")
]


def test_a_ratio_is_taken_against_the_best_peer_of_the_round() -> None:
    (row,) = against(RUN, "quincunx").rows
    # Twice the speed in every round but the first is no gain: the peers ran twice as fast too.
    assert row == ("int8", "adaptive", "4.00 [4.00, 4.00]", "0.60 [0.60, 0.60]")


def test_the_fastest_comes_first_and_a_missing_latency_is_a_dash() -> None:
    rows = table([*RUN, measured(Contender("c", "fp32", "five_crop"), 0, "8 users", 5, None)]).rows
    assert [row[0] for row in rows] == ["quincunx", "a", "b", "c"]
    assert rows[0][3:6] == ("160 [80.0, 160]", "–", "30.0 [30.0, 30.0]")
    assert rows[-1][3:9] == ("5.00", "–", "–", "–", "–", "–")


def test_everybody_runs_five_crop_and_only_quincunx_its_default() -> None:
    entered = contenders(["quincunx", "a"], "adaptive", single_crop=False)
    assert len(entered) == len(set(entered)) == 5
    assert [one for one in entered if one.mode != "five_crop"] == [OURS]
    assert len(contenders(["a"], "five_crop", single_crop=True)) == 4
