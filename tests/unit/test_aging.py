"""An old server against a fresh one."""

from dataclasses import replace

from benchmarks.service.aging import Aging, Slice, table, verdicts

FAST = Slice(per_second=300.0, p99_ms=60.0, cpu_ms=6.0)


def test_servers_that_do_the_same_keep_both_promises() -> None:
    assert [one.kept for one in verdicts(Aging([(FAST, FAST)] * 16))] == [True, True]


def test_a_slow_machine_in_some_pairs_is_no_fault_of_the_old_server() -> None:
    slow = Slice(per_second=150.0, p99_ms=120.0, cpu_ms=12.0)
    aging = Aging([(FAST, FAST), (slow, slow)] * 8)
    assert all(one.kept for one in verdicts(aging))
    assert aging.ratio(lambda one: one.p99_ms).value == 1.0


def test_an_old_server_whose_tail_has_grown_breaks_one_promise() -> None:
    old = replace(FAST, p99_ms=66.0)
    p99, cpu = verdicts(Aging([(old, FAST)] * 16))
    assert (p99.kept, cpu.kept) == (False, True)
    assert p99.measured.startswith("1.100 ")


def test_an_old_server_that_works_more_for_each_request_breaks_the_other() -> None:
    old = replace(FAST, cpu_ms=6.6)
    p99, cpu = verdicts(Aging([(old, FAST)] * 16))
    assert (p99.kept, cpu.kept) == (True, False)


def test_the_table_has_the_means_of_each_server() -> None:
    old = replace(FAST, per_second=280.0)
    rows = table(Aging([(old, FAST), (FAST, FAST)])).rows
    assert rows[0][:2] == ("after the soak", "290.0")
    assert rows[1][:2] == ("fresh", "300.0")
