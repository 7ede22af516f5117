"""The ratio from finals of finished runs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_lanes import BATCH, finals, loss_at

from laneb.inference import RatioEstimate, infer_ratio

PARAMS = 110_101_632
EXACT = finals(seed_sd=0, noise_sd=0)


def ratio_of(steps: float) -> float:
    return steps * BATCH / PARAMS


def infer(points: pd.DataFrame, threshold: float, **options: object):
    return infer_ratio(points, threshold=threshold, n_scaling_params=PARAMS, **options)


@pytest.mark.parametrize("steps", [800, 1200, 1500, 1999, 2999])
def test_exact_finals_give_the_exact_ratio(steps: int) -> None:
    answer = infer(EXACT, loss_at(steps))
    assert answer.status == "ok"
    assert answer.bracketed
    assert answer.ratio == pytest.approx(ratio_of(steps), rel=1e-6)
    assert answer.alpha == pytest.approx(0.4, rel=1e-5)


@pytest.mark.parametrize("alpha", [0.2, 0.4, 0.8])
def test_bracketed_the_ratio_hardly_depends_on_the_exponent(alpha: float) -> None:
    answer = infer(EXACT, loss_at(1800), alpha=alpha)
    assert answer.ratio == pytest.approx(ratio_of(1800), rel=0.02)
    assert answer.alpha_interval == (alpha, alpha)


def test_seed_effects_do_not_move_the_answer_of_an_unbalanced_lane() -> None:
    """A seed with a high loss that ran at the long horizons only must not make them look worse."""
    effects = {41: 0.0, 42: 0.02, 43: -0.02}
    rows = [
        (steps * BATCH, loss_at(steps) + effects[seed], seed)
        for steps, seeds in {750: (41, 43), 1500: (41, 42, 43), 3000: (41, 42)}.items()
        for seed in seeds
    ]
    answer = infer(pd.DataFrame(rows, columns=["tokens", "loss", "seed"]), loss_at(1800))
    assert answer.ratio == pytest.approx(ratio_of(1800), rel=0.01)
    assert answer.noise_sd < 1e-9


def test_the_interval_holds_the_answer_and_narrows_with_less_scatter() -> None:
    noisy, quiet = (infer(finals(seed_sd=sd, noise_sd=sd / 4, draw=3), loss_at(1800)) for sd in (2e-3, 2e-4))
    for answer in (noisy, quiet):
        assert answer.ratio_interval[0] < answer.ratio < answer.ratio_interval[1]
    assert quiet.ratio_interval[1] - quiet.ratio_interval[0] < 0.2 * (noisy.ratio_interval[1] - noisy.ratio_interval[0])


@given(st.integers(0, 1000), st.floats(-0.3, 3))
@settings(max_examples=15, deadline=None)
def test_a_constant_on_losses_and_threshold_changes_no_ratio(draw: int, constant: float) -> None:
    points = finals(draw=draw)
    moved = points.assign(loss=points["loss"] + constant)
    before, after = infer(points, loss_at(1800)), infer(moved, loss_at(1800) + constant)
    assert after.ratio == pytest.approx(before.ratio, rel=1e-3)
    assert after.ratio_interval == pytest.approx(before.ratio_interval, rel=1e-2)


@given(st.integers(0, 1000), st.floats(0.1, 10))
@settings(max_examples=15, deadline=None)
def test_scaling_all_losses_changes_no_ratio_and_scaling_tokens_scales_it(draw: int, factor: float) -> None:
    points = finals(draw=draw)
    moved = points.assign(loss=points["loss"] * factor, tokens=points["tokens"] * factor)
    before, after = infer(points, loss_at(1800)), infer(moved, loss_at(1800) * factor)
    assert after.ratio == pytest.approx(before.ratio * factor, rel=1e-4)


@given(st.integers(0, 1000), st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_order_and_duplicates_of_points_change_nothing(draw: int, random) -> None:
    points = finals(draw=draw)
    order = list(range(len(points))) * 2
    random.shuffle(order)
    before, after = infer(points, loss_at(1800)), infer(points.iloc[order], loss_at(1800))
    assert after.ratio == pytest.approx(before.ratio, rel=1e-9)
    assert after.ratio_interval == pytest.approx(before.ratio_interval, rel=1e-6)


def test_a_lower_threshold_takes_a_longer_horizon() -> None:
    ratios = [infer(finals(draw=5), loss_at(steps)).ratio for steps in (900, 1400, 1900, 2400, 2900)]
    assert ratios == sorted(ratios)


def test_a_modest_extrapolation_is_marked() -> None:
    answer = infer(EXACT, loss_at(3900))
    assert (answer.status, answer.bracketed) == ("ok", False)
    assert answer.ratio == pytest.approx(ratio_of(3900), rel=1e-3)
    assert answer.extrapolation_factor == pytest.approx(1.3, rel=1e-3)
    assert any("below every final" in warning for warning in answer.warnings)
    assert any("1.30 times" in warning for warning in answer.warnings)


@pytest.mark.parametrize("steps", [4700, 400])
def test_extrapolation_beyond_one_and_a_half_is_refused_with_its_factor(steps: int) -> None:
    answer = infer(EXACT, loss_at(steps))
    assert (answer.ratio, answer.tokens, answer.status) == (None, None, "extrapolation_beyond_limit")
    assert any("limit 1.5" in warning for warning in answer.warnings)


def test_a_threshold_below_the_asymptote_has_no_ratio() -> None:
    answer = infer(EXACT, 0.65)
    assert (answer.ratio, answer.status) == (None, "threshold_not_above_asymptote")


def test_noise_larger_than_the_spread_is_refused() -> None:
    points = pd.DataFrame(
        {
            "tokens": np.repeat([1e9, 2e9, 3e9], 3),
            "seed": [1, 2, 3] * 3,
            "loss": [1.0, 1.4, 0.6, 0.7, 1.0, 1.29, 1.2, 0.5, 1.28],
        }
    )
    answer = infer(points, 0.995)
    assert (answer.ratio, answer.status) == (None, "noise_exceeds_spread")
    assert any("noise" in warning for warning in answer.warnings)


def assert_no_interval(answer: RatioEstimate) -> None:
    """An answer of which nothing measures how sure it is: no width, and no probability of what a new run will do."""
    assert answer.status == "ok" and answer.ratio is not None
    assert answer.ratio_interval == answer.interval(0.5) == (0.0, np.inf)
    assert answer.interval_method == "none"
    assert answer.weak
    assert not any("open" in warning for warning in answer.warnings)
    assert_no_prediction(answer)


def assert_no_prediction(answer: RatioEstimate) -> None:
    assert answer.reach(0.9).tokens is None
    assert answer.reach(0.9).interval == (0.0, np.inf)
    assert answer.reach_probability(answer.ratio) is None


def test_one_seed_gives_no_interval_since_nothing_measures_the_spread_over_seeds() -> None:
    answer = infer(finals(seeds=1, draw=2), loss_at(1800))
    assert_no_interval(answer)
    [said] = [warning for warning in answer.warnings if "one seed" in warning]
    assert said == (
        "one seed: nothing measures the spread over seeds, so there is no interval. Calibrate with 3 seeds "
        "(LANE_B_CALIB_SEEDS)."
    )


def test_one_seed_above_its_own_baseline_has_an_interval_but_predicts_no_other_seed() -> None:
    """The seed's effect cancels, and the residual of a fourth horizon measures the noise."""
    points, offset = finals(seeds=1, draw=2), loss_at(1800) - loss_at(3000)
    threshold = points["loss"].iloc[-1] + offset
    answer = infer(points, threshold, baseline_tokens=3000 * BATCH, offset=offset)
    assert answer.interval_method == "t_inversion_contrast"
    assert answer.ratio_interval[0] < answer.ratio < answer.ratio_interval[1]
    assert_no_prediction(answer)
    assert any("so nothing is said of what a run of a new seed will do" in warning for warning in answer.warnings)


@pytest.mark.parametrize("same_seeds", [False, True])
def test_a_noise_that_nothing_measures_gives_no_interval(same_seeds: bool) -> None:
    """One calibration seed and baselines at one horizon: each final is a level's or a seed's own."""
    points = finals(horizons=(750, 1500, 2250), draw=2)
    alone = points[(points["seed"] == 42) | (points["tokens"] == 1500 * BATCH)]
    offset = loss_at(1000) - loss_at(1500)
    own = {"baseline_tokens": 1500 * BATCH, "offset": offset} if same_seeds else {}
    answer = infer(alone, loss_at(1000), **own)
    assert_no_interval(answer)
    assert any("nothing measures the noise within a seed, so there is no interval" in said for said in answer.warnings)
    more = infer(points[points["seed"].isin([41, 42]) | (points["tokens"] == 1500 * BATCH)], loss_at(1000), **own)
    assert not more.weak
    assert 0 < more.ratio_interval[0] < more.ratio < more.ratio_interval[1] < np.inf


def test_another_seed_at_each_horizon_is_noise_about_the_curve_and_has_an_interval() -> None:
    points = finals(seeds=4, draw=3).iloc[[0, 5, 10, 15]]
    answer = infer(points, loss_at(1800))
    assert answer.interval_method == "t_inversion"
    assert answer.lane.levels.seeds.origin == "in_noise"
    assert answer.weak
    three = infer(points.iloc[:3], loss_at(1000))
    assert_no_interval(three)
    assert any("so there is no interval. Use the same seeds at each horizon" in warning for warning in three.warnings)


def test_two_bracketing_points_give_a_weak_answer() -> None:
    answer = infer(EXACT[EXACT["tokens"].isin([750 * BATCH, 1500 * BATCH]) & (EXACT["seed"] == 41)], loss_at(1000))
    assert answer.ratio == pytest.approx(ratio_of(1000), rel=0.01)
    assert answer.weak
    assert any("two horizons" in warning for warning in answer.warnings)


def test_eight_seeds_invert_the_t_test_as_three_do() -> None:
    answer = infer(finals(seeds=8, draw=4), loss_at(1800))
    assert answer.interval_method == "t_inversion"
    assert answer.ratio_interval[0] < answer.ratio < answer.ratio_interval[1]


def test_a_long_horizon_that_ended_higher_is_pooled_and_said() -> None:
    points = EXACT.copy()
    points.loc[points["tokens"] == 3000 * BATCH, "loss"] = loss_at(2250) + 1e-4
    answer = infer(points, loss_at(1800))
    assert answer.ratio == pytest.approx(ratio_of(1800), rel=0.05)
    assert any("pooled" in warning for warning in answer.warnings)


def with_runs(points: pd.DataFrame) -> pd.DataFrame:
    names = [f"run_{index}" for index in range(len(points))]
    return points.assign(run_id=names, horizon_tokens=points["tokens"])


def test_finals_with_run_ids_and_horizons_are_taken() -> None:
    assert infer(with_runs(EXACT), loss_at(1800)).status == "ok"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: with_runs(p).assign(horizon_tokens=p["tokens"].max()), "within-run"),
        (lambda p: with_runs(p).assign(horizon_tokens=p["tokens"] + 1), "within-run"),
        (lambda p: with_runs(p).assign(run_id=["a"] * len(p)), "within-run"),
        (lambda p: p.assign(warmdown_ratio=[0.5] * (len(p) - 1) + [0.2]), "warmdown_ratio"),
        (lambda p: p.assign(recipe=["a"] * (len(p) - 1) + ["b"]), "recipe"),
        (lambda p: p.assign(depth=[12] * (len(p) - 1) + [6]), "depth"),
        (lambda p: p.drop(columns="seed"), "no column seed"),
        (lambda p: p.assign(loss=[math.nan, *p["loss"][1:]]), "finite"),
        (lambda p: p.assign(loss=[math.inf, *p["loss"][1:]]), "finite"),
        (lambda p: p.assign(loss=["x"] * len(p)), "numbers"),
        (lambda p: p.assign(seed=0.5), "integers"),
        (lambda p: p.assign(tokens=-p["tokens"]), "positive"),
        (lambda p: p.iloc[:1], "2 horizons"),
        (lambda p: p[p["tokens"] == p["tokens"].min()], "2 horizons"),
        (lambda p: p.assign(loss=1.0), "flat"),
        (lambda p: p.assign(loss=1 + p["tokens"] / 1e12), "does not improve"),
    ],
)
def test_points_that_are_no_finals_are_refused_with_the_reason(change, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        infer(change(EXACT), loss_at(1800))


NO_NUMBERS = [math.nan, math.inf, None, "0.9", [0.9], True]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("threshold", NO_NUMBERS),
        ("n_scaling_params", [*NO_NUMBERS, 0, -1, 1.5]),
        ("alpha", [math.nan, "0.4", [0.4], 0.0, -1.0]),
        ("confidence", [*NO_NUMBERS, 95, 1, 0, -0.5]),
        ("alpha_prior", [(0.4,), 0.4, (0.4, 0.0), (math.nan, 0.3), "04"]),
        ("draws", [0, 1000]),
        ("offset", [math.nan, -0.01, "0.02", 0.02]),
        ("baseline_tokens", [math.nan, "1e9", -1.0, 12345.0]),
        ("points", [None, 3, [(1, 2, 3)], "points", EXACT.to_numpy()]),
    ],
)
def test_an_argument_that_is_no_number_of_its_range_is_refused_by_name(name: str, values: list) -> None:
    usable = {"points": EXACT, "threshold": loss_at(1800), "n_scaling_params": PARAMS}
    for value in values:
        with pytest.raises(ValueError, match=name):
            infer_ratio(**(usable | {name: value}))


def test_an_exponent_and_its_prior_are_one_thing() -> None:
    with pytest.raises(ValueError, match="alpha_prior"):
        infer(EXACT, loss_at(1800), alpha=0.4, alpha_prior=(0.4, 0.1))


@pytest.mark.parametrize("steps", [1400, 3100])
def test_two_horizons_never_extrapolate(steps: int) -> None:
    points = finals(horizons=(1500, 3000), draw=2)
    answer = infer(points, loss_at(steps))
    assert (answer.ratio, answer.status) == (None, "extrapolation_beyond_limit")
    assert any("never extrapolate" in warning for warning in answer.warnings)
    assert infer(points, loss_at(2000)).status == "ok"
