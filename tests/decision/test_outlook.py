"""What is left to find out."""

from __future__ import annotations

import pytest
from decided_runs import THRESHOLD, arm, run

from laneb.decision import judge
from laneb.knobs import CandidateKnobs

BASELINE = {seed: 190.0 + seed % 3 for seed in range(41, 53)}


def mode_of(crossings: dict[int, float], *, every: int = 5, **knobs: float):
    baseline = arm("baseline", {seed: BASELINE[seed] for seed in crossings}, every=every)
    candidate = arm("inferred", crossings, steps=198, every=every)
    return judge(baselines=baseline, candidates={"inferred": candidate}, threshold=THRESHOLD,
                 knobs=CandidateKnobs(**knobs)).modes[0]  # fmt: skip


def test_more_scatter_takes_more_seeds_and_none_is_promised_that_was_run() -> None:
    near = {41: 150.0, 42: 158.0, 43: 120.0, 44: 165.0}
    far = {41: 170.0, 42: 195.0, 43: 120.0, 44: 190.0}
    few, many = mode_of(near), mode_of(far)
    assert few.decision == many.decision == "INCONCLUSIVE" or few.decision == "ACCEPT"
    assert many.seeds_needed is None or many.seeds_needed > 4
    assert few.seeds_needed is None or many.seeds_needed is None or few.seeds_needed <= many.seeds_needed


def test_a_promise_holds_in_the_lanes_it_is_made_for() -> None:
    mode = mode_of({41: 175.0, 42: 158.0, 43: 130.0})
    assert mode.decision == "INCONCLUSIVE"
    assert mode.seeds_needed is not None and mode.seeds_needed > 3
    assert f"{mode.seeds_needed} seeds in all would settle it" in mode.reasons[-1]


def test_a_gain_that_can_not_matter_is_said_to_be_none() -> None:
    same = {seed: BASELINE[seed] + (0.2 if seed % 2 else -0.2) for seed in BASELINE}
    mode = mode_of(same, every=1)
    assert mode.equivalent and mode.seeds_needed is None
    assert mode.gain_bounds.low < 0 < mode.gain_bounds.high < 0.01
    assert "any gain is below 1.0% with 95 %" in mode.reasons[-1]
    assert not mode_of(same, every=1, smallest_gain=0.001).equivalent


def test_calibration_is_paid_for_by_the_runs_that_it_shortens() -> None:
    baselines = arm("baseline", {41: 190.0, 42: 192.0, 43: 191.0})
    candidates = arm("inferred", {41: 150.0, 42: 153.0, 43: 151.0}, steps=160)
    calibration = [*baselines, run("calibration", 41, None, steps=100), run("calibration", 42, None, steps=100)]
    answer = judge(baselines=baselines, candidates={"inferred": candidates}, threshold=THRESHOLD,
                   calibration=calibration)  # fmt: skip
    assert answer.net_benefit.calibration_sec == pytest.approx(20.0)
    assert answer.net_benefit.saved_per_run_sec == pytest.approx((4.0 + 3.9 + 4.0) / 3)
    assert answer.net_benefit.runs_to_pay == 6
    slower = arm("inferred", {41: 195.0, 42: 197.0, 43: 196.0}, steps=198)
    losing = judge(baselines=baselines, candidates={"inferred": slower}, threshold=THRESHOLD, calibration=calibration)
    assert losing.net_benefit.runs_to_pay is None
    assert judge(baselines=baselines, candidates={"inferred": candidates}, threshold=THRESHOLD).net_benefit is None
