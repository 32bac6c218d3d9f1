"""The peers' table: medians over rounds, and ratios of ours to theirs."""

from benchmarks.peers.__main__ import contenders
from benchmarks.peers.report import Contender, Measured, against, table

OURS, EXACT = Contender("quincunx", "int8", "adaptive"), Contender("quincunx", "fp32", "five_crop")
THEIRS, SLOW = Contender("a", "fp32", "five_crop"), Contender("b", "fp32", "five_crop")
CONTENDERS = ((OURS, 80.0, 30.0), (EXACT, 25.0, 45.0), (THEIRS, 20.0, 60.0), (SLOW, 10.0, 50.0))


def measured(one: Contender, number: int, load: str, rate: float, latency: float) -> Measured:
    return Measured(one, number, load, None, rate, None, (latency,) * 10, 0, None)


RUN = [
    # Twice the speed in every round but the first is no gain: the peers ran twice as fast too.
    measured(one, number, load, rate * (2 if number else 1), latency)
    for number in range(3)
    for one, rate, latency in CONTENDERS
    for load in ("8 users", "70% load")
]


def test_exact_crops_are_held_against_the_same_precision_the_default_against_fp32() -> None:
    one = {row[:3]: row[3:] for row in against(RUN, "quincunx").rows}
    assert one == {
        ("int8", "adaptive", "a fp32 five_crop"): ("4.00 [4.00, 4.00]", "0.50 [0.50, 0.50]"),
        ("int8", "adaptive", "b fp32 five_crop"): ("8.00 [8.00, 8.00]", "0.60 [0.60, 0.60]"),
        ("fp32", "five_crop", "a fp32 five_crop"): ("1.25 [1.25, 1.25]", "0.75 [0.75, 0.75]"),
        ("fp32", "five_crop", "b fp32 five_crop"): ("2.50 [2.50, 2.50]", "0.90 [0.90, 0.90]"),
    }


def test_a_tail_is_that_of_all_rounds_and_as_uncertain_as_they_differ() -> None:
    run = [
        measured(one, number, load, 10, 40.0 if one == EXACT and number == 3 else 10.0)
        for number in range(4)
        for one in (EXACT, THEIRS)
        for load in ("8 users", "70% load")
    ]
    (row,) = against(run, "quincunx").rows
    assert row[4] == "4.00 [1.00, 4.00]"


def test_the_fastest_comes_first_and_who_answered_nobody_has_no_latency() -> None:
    stalled = Measured(
        Contender("c", "fp32", "five_crop"), 0, "8 users", None, 0.0, None, (), 1, None
    )
    rows = table([*RUN, stalled]).rows
    assert [row[0] for row in rows] == ["quincunx", "quincunx", "a", "b", "c"]
    assert rows[0][3:6] == ("160 [80.0, 160]", "–", "30.0")
    assert rows[-1][3:9] == ("0.00", "–", "–", "–", "–", "–")


def test_everybody_runs_five_crop_and_only_quincunx_its_default() -> None:
    entered = contenders(["quincunx", "a"], "adaptive", single_crop=False)
    assert len(entered) == len(set(entered)) == 5
    assert [one for one in entered if one.mode != "five_crop"] == [OURS]
    assert len(contenders(["a"], "five_crop", single_crop=True)) == 4
