"""The interval covers what it says, on lanes of known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from simulated_lanes import BATCH, finals, loss_at

from laneb.inference import infer_ratio
from laneb.inference.interval import alpha_interval
from laneb.inference.lane import Target, solve_lane
from laneb.inference.levels import cells_from

pytestmark = pytest.mark.sampling

LANES = 60
FEWEST = 0.87
"""Share of 60 lanes that 95 % intervals cover at least: three standard errors, of 0.028, below 0.95."""
SCENARIOS = {
    "inside": {"horizon": 1900},
    "beyond": {"horizon": 3600},
    "inside, given 0.4 too high": {"horizon": 1900, "alpha": 0.8},
    "beyond, given 0.4 too high": {"horizon": 3600, "alpha": 0.8},
    "inside, same seeds": {"horizon": 1900, "baseline": 3000},
    "below, same seeds": {"horizon": 625, "baseline": 1500},
    "inside, same seeds, given 0.2 too low": {"horizon": 900, "baseline": 3000, "alpha": 0.2},
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_three_seeds_at_four_horizons_cover_the_truth_nineteen_times_in_twenty(name: str) -> None:
    """benchmarks/interval_coverage.py is the long version."""
    scenario = SCENARIOS[name]
    truth, at = scenario["horizon"], scenario.get("baseline")
    hits = 0
    for draw in range(LANES):
        points, threshold, options = finals(draw=draw), loss_at(truth), {}
        if at is not None:
            offset = loss_at(truth) - loss_at(at)
            threshold = points[points["tokens"] == at * BATCH]["loss"].median() + offset
            options = {"baseline_tokens": at * BATCH, "offset": offset}
        low, high = infer_ratio(
            points, threshold=threshold, n_scaling_params=BATCH, alpha=scenario.get("alpha"), **options
        ).ratio_interval
        hits += low <= truth <= high
    assert hits / LANES >= FEWEST


def test_a_threshold_from_the_same_seeds_is_told_more_sharply_as_a_fixed_one() -> None:
    """Half widths at 3 seeds x 3 horizons: about 0.9 % against 2.6 %."""
    widths = {"fixed": [], "same": []}
    offset = loss_at(1000) - loss_at(1600)
    for draw in range(40):
        points = finals(horizons=(800, 1200, 1600), draw=draw)
        own = {"baseline_tokens": 1600 * BATCH, "offset": offset}
        for name, options in (("fixed", {}), ("same", own)):
            answer = infer_ratio(points, threshold=loss_at(1000), n_scaling_params=BATCH, **options)
            widths[name].append((answer.ratio_interval[1] - answer.ratio_interval[0]) / 2 / answer.ratio)
    assert np.median(widths["same"]) < 0.013
    assert np.median(widths["fixed"]) > 1.7 * np.median(widths["same"])


def test_seed_effects_common_to_all_horizons_leave_the_answer_above_the_baselines_alone() -> None:
    points = finals(horizons=(800, 1200, 1600), seed_sd=0.05, noise_sd=0, draw=1)
    offset = loss_at(1300) - loss_at(1600)
    threshold = points[points["tokens"] == 1600 * BATCH]["loss"].median() + offset
    answer = infer_ratio(
        points, threshold=threshold, n_scaling_params=BATCH, baseline_tokens=1600 * BATCH, offset=offset
    )
    assert answer.ratio == pytest.approx(1300, rel=1e-5)
    assert answer.interval_method == "t_inversion_contrast"
    assert answer.ratio_interval == pytest.approx((1300, 1300), rel=1e-3)
    fixed = infer_ratio(points, threshold=threshold, n_scaling_params=BATCH)
    assert fixed.ratio_interval[1] - fixed.ratio_interval[0] > 100


def test_a_level_of_confidence_can_be_asked_for_afterwards() -> None:
    answer = infer_ratio(finals(draw=6), threshold=loss_at(1800), n_scaling_params=BATCH)
    assert answer.interval(0.95) == answer.ratio_interval
    low, high = answer.interval(0.5)
    assert answer.ratio_interval[0] < low < answer.ratio < high < answer.ratio_interval[1]
    with pytest.raises(ValueError, match="level 95"):
        answer.interval(95)


def test_the_prior_about_a_given_exponent_stands_in_the_interval_where_horizons_say_nothing_of_it() -> None:
    """Two horizons: the exponent is the prior's, so without scatter all of the width is the prior's."""
    points = finals(horizons=(1500, 3000), seed_sd=0, noise_sd=0)
    low, high = infer_ratio(points, threshold=loss_at(2000), n_scaling_params=BATCH, alpha=0.5).ratio_interval
    ends = [
        infer_ratio(points, threshold=loss_at(2000), n_scaling_params=BATCH, alpha=alpha).ratio
        for alpha in (0.5 - 0.98 * 0.3, 0.5 + 0.98 * 0.3)
    ]
    assert low < 2000 < high
    assert high - low == pytest.approx(2 * abs(ends[0] - ends[1]), rel=0.1)


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
    levels = solve_lane(cells_from(points), Target(loss_at(1800))).levels
    assert levels.level == pytest.approx(points.groupby("tokens")["loss"].mean().to_numpy(), rel=1e-12)
    means = points.groupby("seed")["loss"].mean()
    assert levels.seed_effects == pytest.approx((means - means.mean()).to_numpy(), abs=1e-12)


def test_the_variance_of_a_balanced_level_is_that_of_its_seeds_over_their_number() -> None:
    points = finals(draw=3)
    levels = solve_lane(cells_from(points), Target(loss_at(1800))).levels
    variance, freedom = levels.variance(levels.weights)
    assert variance == pytest.approx(points.groupby("tokens")["loss"].var(ddof=1).to_numpy() / 3, rel=1e-9)
    assert (freedom == 2).all()


def test_put_together_from_both_spreads_the_variance_of_a_level_is_that_of_its_seeds_too() -> None:
    """(effects' mean square + (1 - 1 / horizons) noise) / seeds: the mean square holds 1 / horizons of the noise."""
    levels = solve_lane(cells_from(finals(draw=3)), Target(loss_at(1800))).levels
    total, freedom = levels.combined(*levels.parts(levels.weights))
    square = float(levels.seed_effects @ levels.seed_effects) / 2
    assert levels.seeds.noise_share == pytest.approx(1 / 4)
    assert total == pytest.approx((square + 0.75 * levels.noise.variance) / 3)
    assert ((freedom > 2) & (freedom < 8)).all()
    assert levels.seed_sd == pytest.approx((square - levels.noise.variance / 4) ** 0.5)
    alone, own = levels.combined(np.zeros(1), np.ones(1))
    assert (alone[0], own[0]) == (levels.noise.variance, 6)


def test_the_exponents_interval_holds_it_and_is_open_without_freedom() -> None:
    cells = cells_from(finals(draw=4))
    best = solve_lane(cells, Target(loss_at(1800))).curve.alpha
    low, high = alpha_interval(cells, best, (0.01, 3.0), 0.95)
    assert low < best < high
    assert low < 0.4 < high
    alone = cells_from(finals(horizons=(750, 1500, 3000), seeds=1))
    assert alpha_interval(alone, 0.4, (0.01, 3.0), 0.95) == (0.01, 3.0)


def test_an_interval_that_the_data_do_not_bound_is_open_and_said() -> None:
    rows = [(steps * BATCH, loss_at(steps) + 0.05 * seed, seed) for steps in (750, 3000) for seed in (-1, 1)]
    answer = infer_ratio(
        pd.DataFrame(rows, columns=["tokens", "loss", "seed"]), threshold=loss_at(1500), n_scaling_params=1
    )
    assert answer.weak
    assert answer.ratio_interval[0] == 0 or np.isinf(answer.ratio_interval[1])
    assert any("open" in warning for warning in answer.warnings)
