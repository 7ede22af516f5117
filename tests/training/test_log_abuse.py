"""Mutated logs against an independent reading (benchmarks/abuse_logs.py runs 100,000), and time that stays linear."""

import time

from made_logs import HEADER, train, validation
from mutated_logs import abuse

from laneb.training.log import parse_log


def test_no_mutated_log_raises_anything_else_or_is_ok_against_a_simple_reading():
    tally = abuse(2000, seed=11)
    assert (tally.logs, tally.raised, tally.wrong, tally.stricter) == (2000, [], [], 0)
    assert tally.ok > 1000 and tally.none > 10


def seconds(text: str) -> float:
    started = time.process_time()
    parse_log(text)
    return time.process_time() - started


def test_restarts_times_evaluations_cost_no_more_than_their_lines():
    def text(count: int) -> str:
        again = f"Resuming optimization from step {count}\n" + validation(count, 1.4) + train(count)
        return HEADER + "".join(validation(step, 1.5) for step in range(count)) + train(count) + again * count

    # Quadratic, the second would take sixteen times as long.
    small, large = text(2500), text(10_000)
    assert min(seconds(large) for _ in range(2)) < 9 * max(0.02, min(seconds(small) for _ in range(3)))


def test_a_line_of_many_megabytes_costs_no_more_than_its_bytes():
    piece = "step 1 | loss: 1 | dt: 9 ms | tok/sec: 1 total time: "
    small, large = HEADER + piece * 20_000 + "\n", HEADER + piece * 320_000 + "\n"
    assert seconds(large) < 40 * max(0.02, seconds(small))
