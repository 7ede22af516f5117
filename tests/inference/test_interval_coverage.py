"""The interval covers what it says, on lanes of known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_lanes import BATCH, finals, loss_at

from laneb.inference import infer_ratio
from laneb.inference.lane import solve_lane
from laneb.inference.levels import cells_from
from laneb.inference.uncertainty import alpha_interval, bootstrap_interval


def test_three_seeds_at_four_horizons_cover_the_truth_nineteen_times_in_twenty() -> None:
    lanes = 120
    hits = 0
    for draw in range(lanes):
        answer = infer_ratio(finals(draw=draw), threshold=loss_at(1900), n_scaling_params=BATCH)
        low, high = answer.ratio_interval
        hits += low <= 1900 <= high
    # Four standard errors of a share of 0.95 in 120 lanes are 0.08.
    assert hits / lanes >= 0.87


def test_an_unbalanced_lane_gets_the_spread_of_its_cells() -> None:
    """Two calibration seeds at three horizons, a third seed at one: what baselines add."""
    points = finals(horizons=(750, 1500, 3000), seeds=3, draw=11)
    lacking = points[(points["seed"] != 43) | (points["tokens"] == 1500 * BATCH)]
    with_third = infer_ratio(lacking, threshold=loss_at(1800), n_scaling_params=BATCH)
    without = infer_ratio(lacking[lacking["seed"] != 43], threshold=loss_at(1800), n_scaling_params=BATCH)
    assert with_third.ratio_interval[0] < 1800 < with_third.ratio_interval[1]
    widths = [np.ptp(answer.ratio_interval) for answer in (with_third, without)]
    assert widths[0] < widths[1]


def test_levels_and_effects_of_a_balanced_lane_are_its_means() -> None:
    points = finals(draw=2)
    levels = solve_lane(cells_from(points), loss_at(1800)).levels
    assert levels.level == pytest.approx(points.groupby("tokens")["loss"].mean().to_numpy(), rel=1e-12)
    means = points.groupby("seed")["loss"].mean()
    assert levels.seed_effects == pytest.approx((means - means.mean()).to_numpy(), abs=1e-12)


def test_the_variance_of_a_balanced_level_is_that_of_its_seeds_over_their_number() -> None:
    points = finals(draw=3)
    levels = solve_lane(cells_from(points), loss_at(1800)).levels
    variance, freedom = levels.variance(levels.weights)
    assert variance == pytest.approx(points.groupby("tokens")["loss"].var(ddof=1).to_numpy() / 3, rel=1e-9)
    assert (freedom == 2).all()


def test_the_exponents_interval_holds_it_and_is_open_without_freedom() -> None:
    cells = cells_from(finals(draw=4))
    best = solve_lane(cells, loss_at(1800)).curve.alpha
    low, high = alpha_interval(cells, best, (0.01, 3.0), 0.95)
    assert low < best < high
    assert low < 0.4 < high
    alone = cells_from(finals(horizons=(750, 1500, 3000), seeds=1))
    assert alpha_interval(alone, 0.4, (0.01, 3.0), 0.95) == (0.01, 3.0)


def test_the_bootstrap_is_deterministic_and_widens_with_confidence() -> None:
    cells = cells_from(finals(seeds=8, draw=5))

    def interval(confidence: float) -> tuple[float, float]:
        return bootstrap_interval(
            cells, lambda drawn: solve_lane(drawn, loss_at(1800)).tokens, confidence, draws=100, seed=1
        )

    assert interval(0.9) == interval(0.9)
    assert interval(0.5)[0] > interval(0.9)[0]
    assert interval(0.5)[1] < interval(0.9)[1]


def test_an_interval_that_the_data_do_not_bound_is_open_and_said() -> None:
    rows = [(steps * BATCH, loss_at(steps) + 0.05 * seed, seed) for steps in (750, 3000) for seed in (-1, 1)]
    answer = infer_ratio(
        pd.DataFrame(rows, columns=["tokens", "loss", "seed"]), threshold=loss_at(1500), n_scaling_params=1
    )
    assert answer.weak
    assert answer.ratio_interval[0] == 0 or np.isinf(answer.ratio_interval[1])
    assert any("open" in warning for warning in answer.warnings)
