"""Looking again with more seeds."""

from __future__ import annotations

import numpy as np
import pytest
from decided_runs import THRESHOLD, arm

from laneb.decision import judge
from laneb.decision.looks import LEVEL, bonferroni_critical, critical_at, spent_at
from laneb.records.verdict import Look, Verdict

SEEDS = range(41, 60)
SCATTERED = {41: 120.0, 42: 158.0, 43: 140.0, 44: 150.0, 45: 132.0, 46: 141.0}


def look(pairs: int, before: tuple[Look, ...] = (), **changes: object) -> Look:
    runs = tuple(f"run{number}" for number in range(2 * pairs))
    values: dict[str, object] = {
        "timestamp_utc": "", "question": "q", "mode": "inferred", "threshold": 1.0, "seeds": tuple(range(pairs)),
        "pairs": pairs, "statistic": 1.0, "critical": critical_at(pairs, before, threshold=1.0, runs=runs),
        "spent": spent_at(pairs, before), "decision": "INCONCLUSIVE", "runs": runs,
    }  # fmt: skip
    return Look.model_validate(values | changes)


def judged(crossings: dict[int, float], looks: list[Look], threshold: float = THRESHOLD, **options) -> Verdict:
    baseline = arm("baseline", {seed: 190.0 + seed % 3 for seed in crossings})
    return judge(baselines=baseline, candidates={"inferred": arm("inferred", crossings, steps=160)},
                 threshold=threshold, looks=looks, **options)  # fmt: skip


def test_the_level_is_spent_by_pairs_and_never_used_up() -> None:
    taken: tuple[Look, ...] = ()
    for pairs in (2, 2, 3, 5, 5, 4, 12):
        spent = spent_at(pairs, taken)
        assert (taken[-1].spent if taken else 0.0) < spent < LEVEL
        taken += (look(pairs, taken),)
    assert spent_at(3, ()) == pytest.approx(0.0375)
    assert spent_at(3, (look(3),)) == pytest.approx((LEVEL + 0.0375) / 2)


def test_nested_looks_together_exceed_by_chance_as_often_as_the_level_says() -> None:
    taken: tuple[Look, ...] = ()
    for pairs in (3, 4, 6):
        taken += (look(pairs, taken),)
    draws = np.random.default_rng(5).standard_normal((100_000, 6))
    ever = np.zeros(len(draws), dtype=bool)
    for each in taken:
        known = draws[:, : each.pairs]
        t = known.mean(1) / (known.std(1, ddof=1) / np.sqrt(each.pairs))
        ever |= t > each.critical
    assert ever.mean() == pytest.approx(taken[-1].spent, abs=0.002)


def test_a_look_at_other_runs_pays_for_itself_alone() -> None:
    first = look(3)
    runs = tuple(f"run{number}" for number in range(8))
    nested = critical_at(4, (first,), threshold=1.0, runs=runs)
    assert nested < critical_at(4, (first,), threshold=1.1, runs=runs)
    assert nested < critical_at(4, (first,), threshold=1.0, runs=runs[2:])
    assert critical_at(4, (first,), threshold=1.1, runs=runs) == pytest.approx(bonferroni_critical(4, (first,), 1.0))


def test_the_same_evidence_is_the_same_look() -> None:
    first = judged(dict(list(SCATTERED.items())[:3]), [])
    taken = [first.modes[0].look]
    again = judged(dict(list(SCATTERED.items())[:3]), taken)
    assert again.modes[0].critical == first.modes[0].critical
    second = judged(dict(list(SCATTERED.items())[:4]), taken)
    assert second.modes[0].look.spent > taken[0].spent
    back = judged(dict(list(SCATTERED.items())[:3]), [*taken, second.modes[0].look])
    assert back.modes[0].critical == first.modes[0].critical


def test_a_further_look_asks_for_more_than_a_first_one() -> None:
    first = judged(dict(list(SCATTERED.items())[:3]), [])
    second = judged(SCATTERED, [first.modes[0].look])
    fresh = judged(SCATTERED, [])
    assert second.modes[0].critical > fresh.modes[0].critical
    assert second.modes[0].level_left < fresh.modes[0].level_left + 1e-12
    assert judged(SCATTERED, [first.modes[0].look.model_copy(update={"question": "another"})]).modes == fresh.modes


def test_what_was_accepted_stays_accepted_while_there_is_a_gain() -> None:
    sure = {41: 150.0, 42: 153.0, 43: 151.0}
    first = judged(sure, [])
    assert first.decision == "ACCEPT"
    noisy = {**sure, 44: 20.0}
    assert judged(noisy, []).decision == "INCONCLUSIVE"
    kept = judged(noisy, [first.modes[0].look])
    assert kept.decision == "ACCEPT"
    assert "shown at the look with 3 pairs" in kept.reasons[0]


def test_one_pair_is_no_look() -> None:
    answer = judged({41: 150.0}, [])
    assert answer.modes[0].look is None
    assert answer.modes[0].level_left == LEVEL
