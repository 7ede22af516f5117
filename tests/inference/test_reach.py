"""What a new run will do: the probability that it reaches the threshold, and the horizon of least expected time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from simulated_lanes import ALPHA, AMPLITUDE, ASYMPTOTE, BATCH, finals, loss_at, run

from laneb.inference import RatioEstimate, infer_ratio
from laneb.inference.least_time import OFF, SHARES, excess_of, expected_time, least_expected_time
from laneb.inference.reach import predict

RUN_SD = float(np.hypot(1.34e-3, 0.32e-3))
LANES = 120


def answered(draw: int, steps: float = 1900, **options: float) -> RatioEstimate:
    return infer_ratio(finals(draw=draw), threshold=loss_at(steps), n_scaling_params=BATCH, **options)


def true_probability(steps: float, threshold: float) -> float:
    """That a new seed's run finished at a horizon [steps] ends at or below a threshold."""
    return float(norm.cdf((threshold - loss_at(steps)) / RUN_SD))


@pytest.mark.sampling
@pytest.mark.parametrize("steps", [1900, 3500])
def test_the_reach_probability_is_right_on_average_and_its_horizon_is_covered(steps: int) -> None:
    goal = loss_at(steps) - norm.ppf(0.9) * RUN_SD
    truth = ((goal - ASYMPTOTE) / AMPLITUDE) ** (-1 / ALPHA) / BATCH
    met, covered = [], 0
    for draw in range(LANES):
        reach = answered(draw, steps).reach(0.9)
        met.append(true_probability(reach.tokens / BATCH, loss_at(steps)))
        covered += reach.interval[0] <= truth * BATCH <= reach.interval[1]
    assert np.mean(met) == pytest.approx(0.9, abs=0.05)
    # Three standard errors of a share of 0.95 in 120 lanes are 0.06.
    assert covered / LANES >= 0.89


@pytest.mark.sampling
def test_the_threshold_of_the_same_seeds_changes_nothing_about_what_a_new_run_reaches() -> None:
    offset = loss_at(1900) - loss_at(3000)
    met = []
    for draw in range(LANES):
        points = finals(draw=draw)
        threshold = points[points["tokens"] == 3000 * BATCH]["loss"].median() + offset
        answer = infer_ratio(
            points, threshold=threshold, n_scaling_params=BATCH, baseline_tokens=3000 * BATCH, offset=offset
        )
        met.append(true_probability(answer.reach(0.9).tokens / BATCH, threshold))
    assert np.mean(met) == pytest.approx(0.9, abs=0.05)


def test_half_of_the_new_runs_reach_the_threshold_at_the_inferred_horizon_and_more_beyond() -> None:
    answer = answered(3)
    at = [answer.reach_probability(share * answer.ratio) for share in (0.97, 1.0, 1.03, 1.06)]
    assert at[1] == pytest.approx(0.5, abs=1e-9)
    assert at == sorted(at)
    assert answer.reach_probability(answer.reach(0.8).tokens / BATCH) == pytest.approx(0.8, abs=1e-4)


def test_more_certainty_takes_a_longer_horizon_and_a_wider_interval() -> None:
    answer = answered(4)
    horizons = [answer.reach(probability).tokens for probability in (0.6, 0.8, 0.9)]
    assert horizons == sorted(horizons)
    narrow, wide = answer.reach(0.9, level=0.5).interval, answer.reach(0.9, level=0.95).interval
    assert wide[0] < narrow[0] < answer.reach(0.9).tokens < narrow[1] < wide[1]


def test_a_horizon_that_the_finals_do_not_speak_of_is_none() -> None:
    answer = answered(5, 4450)
    assert answer.status == "ok"
    assert answer.reach(0.99).tokens is None
    assert answer.reach(0.99).interval == (0.0, np.inf)


@pytest.mark.parametrize("value", [0, 1, 90, None, "0.9", float("nan")])
def test_a_probability_that_is_none_is_refused(value: object) -> None:
    for question in (lambda: answered(1).reach(value), lambda: answered(1).reach(0.9, level=value)):
        with pytest.raises(ValueError, match="between 0 and 1"):
            question()
    with pytest.raises(ValueError, match="ratio"):
        answered(1).reach_probability(-1.0)


RUNS = [run(steps, seed) for steps in (750, 1500, 2250, 3000) for seed in (41, 42)]


def test_the_excess_of_a_run_over_its_end_falls_to_zero_and_keeps_its_lowest() -> None:
    shape = excess_of(RUNS)
    assert shape[-1] == 0
    assert (np.diff(shape) <= 0).all()
    assert shape[np.searchsorted(SHARES, 0.5)] == pytest.approx(
        np.mean([run.val_curve[4].bpb - run.val_curve[-1].bpb for run in RUNS])
    )
    assert excess_of([]) is None
    assert excess_of([run(750, 41, status="failed")]) is None


def test_the_expected_time_is_that_of_runs_drawn_one_by_one_until_one_reaches_the_threshold() -> None:
    answer = answered(7)
    shape, steps = excess_of(RUNS), 1.05 * answer.ratio
    new = predict(answer.lane, np.array([steps * BATCH]))
    drawn = np.random.default_rng(0).standard_t(new.freedom[0], 400_000) * np.sqrt(new.variance[0])
    margin = loss_at(1900) - new.loss[0] - drawn
    spent = np.where(margin >= 0, np.interp(margin, shape[::-1], SHARES[::-1]), 1.0)
    by_hand = steps * spent.mean() / (margin >= 0).mean()
    assert expected_time(answer.lane, shape, np.array([steps * BATCH]))[0] / BATCH == pytest.approx(by_hand, rel=0.01)


def test_the_least_expected_time_lies_beyond_the_inferred_horizon_in_a_basin() -> None:
    answer = answered(8)
    least = least_expected_time(answer.lane, RUNS)
    assert answer.tokens < least.tokens < 1.2 * answer.tokens
    assert least.expected < least.tokens
    assert [off for off, _ in least.costs] == list(OFF)
    costs = [cost for _, cost in least.costs]
    assert all(cost > 0 for cost in costs)
    assert costs[0] > costs[1] > costs[2] and costs[3] < costs[4] < costs[5]


def test_without_curves_or_without_a_bottom_there_is_no_least_time() -> None:
    assert least_expected_time(answered(8).lane, []) is None
    assert least_expected_time(answered(8, 5000).lane, RUNS) is None
