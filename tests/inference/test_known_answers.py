"""Whole inferences as they were, and their numbers computed another way."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kept_answers import assert_same
from known_lanes import ANSWERS, LANES, WITH_SENSITIVITY, inferred
from scipy import optimize, stats
from simulated_lanes import ALPHA, AMPLITUDE, ASYMPTOTE, BATCH, finals, loss_at

from laneb.inference import LossCurveError, fit_loss_curve, infer_ratio, solve_horizon
from laneb.inference.horizon import Horizon
from laneb.inference.lane import HELD, Prior, Target, fit_cells, solve_lane
from laneb.inference.levels import cells_from, estimate_levels
from laneb.inference.loss_curve import LossCurve
from laneb.inference.reach import predict

KNOWN: dict[str, dict[str, Any]] = json.loads(ANSWERS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", LANES)
def test_a_lanes_whole_inference_is_what_it_was(name: str) -> None:
    assert_same(inferred(name), KNOWN[name], name, rel=2e-6, abs=1e-12)


def test_every_lane_is_kept_once() -> None:
    assert sorted(KNOWN) == sorted(LANES)
    assert [name for name in LANES if "sensitivity" in KNOWN[name]] == [*filter(WITH_SENSITIVITY.__contains__, LANES)]


POINTS = finals(horizons=(750, 1500, 3000), draw=6)
SEEDS = (41, 42, 43)


def by_seed(points: pd.DataFrame = POINTS) -> np.ndarray:
    """[seeds, horizons] losses."""
    return points.pivot(index="seed", columns="tokens", values="loss").to_numpy()


def test_levels_and_effects_of_an_unbalanced_lane_are_those_of_a_dummy_regression() -> None:
    points = POINTS.drop(index=[1, 8])
    cells = cells_from(points)
    levels = estimate_levels(cells, fit_cells(cells, None))
    dummies = np.column_stack(
        [points["tokens"] == horizon for horizon in cells.horizons]
        + [(points["seed"] == seed).astype(float) - 1 / 3 for seed in SEEDS]
    ).astype(float)
    ordered = points.sort_values(["tokens", "seed"])
    dummies = dummies[np.argsort(points[["tokens", "seed"]].apply(tuple, axis=1).argsort().argsort().to_numpy())]
    # Effects sum to zero: one more equation, that weighs whatever it takes.
    design = np.vstack([dummies, [0, 0, 0, 1e6, 1e6, 1e6]])
    solution = np.linalg.lstsq(design, np.append(ordered["loss"].to_numpy(), 0.0), rcond=None)[0]
    effects = solution[3:] - solution[3:].mean()
    assert levels.level == pytest.approx(solution[:3], abs=1e-9)
    assert levels.seed_effects == pytest.approx(effects, abs=1e-9)
    left = ordered["loss"].to_numpy() - dummies @ solution
    assert (levels.noise.variance, levels.noise.freedom) == (pytest.approx(left @ left / 2), 2.0)
    assert levels.seeds.mean_square == pytest.approx(effects @ effects / 2)
    assert (levels.seeds.freedom, levels.seeds.origin) == (2.0, "measured")
    assert levels.weights @ ordered["loss"].to_numpy() == pytest.approx(levels.level)


def test_the_spread_of_a_balanced_lanes_effects_holds_a_horizons_share_of_the_noise() -> None:
    cells = cells_from(POINTS)
    levels = estimate_levels(cells, fit_cells(cells, None))
    matrix = by_seed()
    effects = matrix.mean(1) - matrix.mean()
    left = matrix - matrix.mean(0) - effects[:, None]
    assert levels.level == pytest.approx(matrix.mean(0))
    assert levels.seed_effects == pytest.approx(effects)
    assert levels.noise_sd == pytest.approx(math.sqrt((left**2).sum() / 4))
    assert levels.seeds.noise_share == pytest.approx(1 / 3)
    assert levels.seed_sd == pytest.approx(math.sqrt(effects.var(ddof=1) - (left**2).sum() / 4 / 3))
    assert levels.spread == pytest.approx(matrix[:, 0].mean() - matrix[:, -1].mean())
    # Variance of a contrast, each seed's own: last less first horizon.
    contrast = (levels.weights[-1] - levels.weights[0])[None, :]
    variance, freedom = levels.variance(contrast)
    assert variance[0] == pytest.approx((matrix[:, -1] - matrix[:, 0]).var(ddof=1) / 3)
    assert freedom[0] == 2.0


def test_two_variances_are_put_together_with_degrees_of_freedom_between_theirs() -> None:
    cells = cells_from(POINTS)
    levels = estimate_levels(cells, fit_cells(cells, None))
    seed, noise = 0.4 * levels.seeds.mean_square, 0.7 * levels.noise.variance
    total, freedom = levels.combined(np.array([0.4]), np.array([0.7]), 1e-7)
    satterthwaite = (seed + noise + 1e-7) ** 2 / (seed**2 / 2 + noise**2 / 4)
    share = seed / (seed + noise + 1e-7)
    assert total[0] == pytest.approx(seed + noise + 1e-7)
    assert freedom[0] == pytest.approx(satterthwaite * (2 / satterthwaite) ** (share / 2))
    known, endless = levels.combined(np.zeros(1), np.zeros(1), 2.0)
    assert (known[0], endless[0]) == (2.0, math.inf)


def test_one_seed_is_given_the_spreads_that_were_measured_elsewhere() -> None:
    cells = cells_from(POINTS[POINTS["seed"] == 41])
    levels = estimate_levels(cells, fit_cells(cells, None))
    typical = float(np.median(cells.losses))
    assert levels.seeds.mean_square == pytest.approx((0.0015 * typical) ** 2)
    assert levels.noise_sd == pytest.approx(0.00035 * typical)
    assert (levels.seeds.origin, levels.seeds.freedom, levels.noise.freedom) == ("assumed", math.inf, math.inf)
    more = cells_from(finals(seeds=1, draw=3))
    curve = fit_cells(more, None)
    assert estimate_levels(more, curve).noise_sd == pytest.approx(curve.residual_sd)


def test_a_prediction_adds_a_seed_and_a_run_to_what_is_unsure_of_the_mean() -> None:
    lane = solve_lane(cells_from(POINTS), Target(loss_at(1800)))
    at = np.array([lane.levels.cells.horizons[1]])
    found, matrix = predict(lane, at), by_seed()
    levels = lane.levels
    seed_part, noise_part = levels.parts(lane.estimate(at).weights)
    variance = (seed_part + 1) * levels.seeds.mean_square + (noise_part + 1 - 1 / 3) * levels.noise.variance
    assert found.loss[0] == pytest.approx(matrix[:, 1].mean())
    assert found.variance[0] == pytest.approx(variance[0])
    margin = loss_at(1800) - matrix[:, 1].mean()
    answer = infer_ratio(POINTS, threshold=loss_at(1800), n_scaling_params=BATCH)
    assert answer.reach_probability(1500.0) == pytest.approx(
        stats.t.cdf(margin / math.sqrt(variance[0]), found.freedom[0])
    )


def test_an_interpolated_horizon_and_its_interval_by_hand() -> None:
    """The exponent held: then every seed's own line is solved with its own losses, and the gap is their mean."""
    goal, bend = loss_at(1000), 0.4
    lane = solve_lane(cells_from(POINTS), Target(goal), Prior(bend, HELD))
    answer = infer_ratio(POINTS, threshold=goal, n_scaling_params=BATCH, alpha_prior=(bend, HELD))
    matrix, horizons = by_seed(), np.array([750.0, 1500.0, 3000.0])
    power = horizons**-bend

    def losses(steps: float) -> np.ndarray:
        right = 1 if steps <= 1500 else 2
        share = (steps**-bend - power[right - 1]) / (power[right] - power[right - 1])
        return (1 - share) * matrix[:, right - 1] + share * matrix[:, right]

    def excess(steps: float, confidence: float = 0.95) -> float:
        own = losses(steps)
        return abs(own.mean() - goal) - stats.t.ppf(0.5 + confidence / 2, 2) * own.std(ddof=1) / math.sqrt(3)

    steps = optimize.brentq(lambda at: losses(at).mean() - goal, 750, 1500)
    assert answer.ratio == pytest.approx(steps, rel=1e-6)
    assert lane.bracketed and answer.extrapolation_factor == 1.0
    for level in (0.95, 0.8):
        low, high = answer.interval(level)
        assert low == pytest.approx(optimize.brentq(excess, 751, steps, args=(level,)), rel=1e-5)
        assert high == pytest.approx(optimize.brentq(excess, steps, 2900, args=(level,)), rel=1e-5)
    assert answer.ratio_interval == answer.interval(0.95)


def test_a_contrast_with_the_baselines_and_its_interval_by_hand() -> None:
    offset, bend = 0.09, 0.4
    matrix, horizons = by_seed(), np.array([750.0, 1500.0, 3000.0])
    answer = infer_ratio(
        POINTS, threshold=float(np.median(matrix[:, 2])) + offset, n_scaling_params=BATCH, alpha_prior=(bend, HELD),
        baseline_tokens=3000 * BATCH, offset=offset,
    )  # fmt: skip
    power = horizons**-bend

    def gaps(steps: float) -> np.ndarray:
        share = (steps**-bend - power[0]) / (power[1] - power[0])
        return (1 - share) * matrix[:, 0] + share * matrix[:, 1] - matrix[:, 2] - offset

    def excess(steps: float) -> float:
        return abs(gaps(steps).mean()) - stats.t.ppf(0.975, 2) * gaps(steps).std(ddof=1) / math.sqrt(3)

    steps = optimize.brentq(lambda at: gaps(at).mean(), 750, 1500)
    assert answer.goal == pytest.approx(matrix[:, 2].mean() + offset)
    assert answer.ratio == pytest.approx(steps, rel=1e-6)
    assert answer.ratio_interval[0] == pytest.approx(optimize.brentq(excess, 760, steps), rel=1e-5)
    assert answer.ratio_interval[1] == pytest.approx(optimize.brentq(excess, steps, 1499), rel=1e-5)
    assert answer.interval_method == "t_inversion_contrast"


def test_beyond_the_horizons_the_interval_is_that_of_the_curves_own_regression() -> None:
    """One seed and a held exponent: a straight line in D ** -alpha, with the variance of a line's mean."""
    points = finals(horizons=(750, 1000, 1500, 2000, 3000), seeds=1, draw=4)
    goal = loss_at(3600)
    lane = solve_lane(cells_from(points), Target(goal), Prior(ALPHA, HELD))
    x = points["tokens"].to_numpy() ** -ALPHA
    slope, intercept = np.polyfit(x, points["loss"], 1)
    assert lane.tokens == pytest.approx(((goal - intercept) / slope) ** (-1 / ALPHA), rel=1e-6)
    at = np.array([lane.tokens])
    weights = 1 / 5 + (at**-ALPHA - x.mean()) * (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    assert lane.gap(at).weights[0] == pytest.approx(weights, abs=1e-5)
    assert lane.gap(at).loss[0] == pytest.approx(0.0, abs=1e-9)


def test_the_exponents_interval_is_where_the_profile_passes_the_f_quantile() -> None:
    points = finals(seeds=3, draw=2)
    answer = infer_ratio(points, threshold=loss_at(1800), n_scaling_params=BATCH)
    names = sorted(set(points["seed"]))
    dummies = np.array([[(seed == name) - (seed == names[-1]) for name in names[:-1]] for seed in points["seed"]])

    def rss(alpha: float) -> float:
        power = (points["tokens"] / 1e9).to_numpy() ** -alpha
        design = np.column_stack([np.ones(len(points)), power, dummies])
        left = points["loss"] - design @ np.linalg.lstsq(design, points["loss"], rcond=None)[0]
        return float(left @ left)

    best = optimize.minimize_scalar(rss, bounds=(0.05, 1.5), method="bounded", options={"xatol": 1e-9})
    freedom = len(points) - 5
    limit = best.fun * (1 + stats.f.ppf(0.95, 1, freedom) / freedom)
    assert answer.own_alpha == pytest.approx(best.x, rel=1e-4)
    low, high = answer.own_alpha_interval
    assert low == pytest.approx(optimize.brentq(lambda a: rss(a) - limit, 0.02, best.x), rel=1e-3)
    assert high == pytest.approx(optimize.brentq(lambda a: rss(a) - limit, best.x, 2.5), rel=2e-3)


def test_a_curve_with_a_prior_is_the_least_of_squares_and_penalty() -> None:
    points = finals(draw=9, noise_sd=2e-3)
    tokens, losses = points["tokens"].to_numpy(), points["loss"].to_numpy()
    mean, sd = 0.7, 0.05
    free = fit_loss_curve(tokens, losses, seeds=points["seed"].tolist())
    curve = fit_loss_curve(tokens, losses, seeds=points["seed"].tolist(), alpha_prior=(mean, sd))
    names = sorted(set(points["seed"]))
    dummies = np.array([[(seed == name) - (seed == names[-1]) for name in names[:-1]] for seed in points["seed"]])

    def rss(alpha: float) -> float:
        design = np.column_stack([np.ones(len(points)), (tokens / 1e9) ** -alpha, dummies])
        left = losses - design @ np.linalg.lstsq(design, losses, rcond=None)[0]
        return float(left @ left)

    variance = rss(free.alpha) / (len(points) - 5)
    best = optimize.minimize_scalar(
        lambda alpha: rss(alpha) / variance + ((alpha - mean) / sd) ** 2, bounds=(0.05, 1.5), method="bounded",
        options={"xatol": 1e-9},
    )  # fmt: skip
    assert curve.alpha == pytest.approx(best.x, rel=1e-3)
    assert free.alpha < curve.alpha < mean
    assert free.residual_freedom == len(points) - 5
    assert free.residual_sd == pytest.approx(math.sqrt(rss(free.alpha) / (len(points) - 5)), rel=1e-6)


def test_a_huber_fit_is_the_least_that_a_general_optimizer_finds() -> None:
    points = finals(horizons=(750, 1000, 1500, 2200, 3000), seeds=1, draw=3, noise_sd=1.5e-3)
    tokens, losses = points["tokens"].to_numpy(), points["loss"].to_numpy()
    curve = fit_loss_curve(tokens, losses, alpha=0.4, method="huber", delta=2e-3)

    def objective(theta: np.ndarray) -> float:
        inside = np.logaddexp(theta[0] - 0.4 * np.log(tokens / 1e9), theta[1])
        left = np.abs(np.log(losses) - inside)
        return float(np.where(left <= 2e-3, left**2 / 2, 2e-3 * (left - 1e-3)).sum())

    start = [math.log(curve.amplitude * 1e9**-0.4), math.log(curve.asymptote)]
    best = optimize.minimize(objective, [start[0] + 0.1, start[1] - 0.1], method="Nelder-Mead",
                             options={"xatol": 1e-10, "fatol": 1e-18, "maxiter": 4000, "maxfev": 4000})  # fmt: skip
    assert objective(np.array(start)) <= best.fun * (1 + 1e-6)
    assert start == pytest.approx(best.x, abs=2e-4)
    assert (curve.method, curve.alpha_fitted, curve.alpha_at_bound) == ("huber", False, False)


@pytest.mark.parametrize(
    ("curve", "threshold", "status"),
    [
        (LossCurve(2.0, 0.5, 0.0), 0.6, "invalid_alpha"),
        (LossCurve(2.0, 0.5, -0.1), 0.6, "invalid_alpha"),
        (LossCurve(0.0, 0.5, 0.4), 0.6, "non_positive_A"),
        (LossCurve(2.0, 0.5, 0.4), 0.5, "threshold_not_above_asymptote"),
        (LossCurve(2.0, 0.5, 0.4), 0.4, "threshold_not_above_asymptote"),
        (LossCurve(1e300, 0.5, 0.01), 0.6, "non_finite_target_tokens"),
    ],
)
def test_a_curve_without_a_solution_says_why(curve: LossCurve, threshold: float, status: str) -> None:
    assert solve_horizon(curve, threshold) == Horizon(None, status)


def test_a_curve_is_solved_by_its_inverse() -> None:
    curve = LossCurve(AMPLITUDE, ASYMPTOTE, ALPHA)
    assert solve_horizon(curve, loss_at(1234)).tokens == pytest.approx(1234 * BATCH)
    assert curve.loss([1500 * BATCH])[0] == pytest.approx(ASYMPTOTE + 0.22)


SHAPES = "tokens (2,) and losses (3,) (and seeds) are one-dimensional and equally long"
REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"losses": [1, 0.9, 0.8]}, SHAPES),
    ({"tokens": [1e9], "losses": [1.0]}, "1 calibration point(s); a loss curve takes at least 2 horizons"),
    ({"losses": [1.0, math.nan]}, "point 2 is not finite: 2000000000.0 tokens, loss nan"),
    ({"tokens": [-5, 1e9]}, "token counts are positive; there is -5"),
    (
        {"tokens": [1e9, 1e9]},
        "1,000,000,000 tokens is repeated. Take the median per horizon, or say which seed each point has.",
    ),
    (
        {"tokens": [1e9, 1e9], "seeds": [4, 4]},
        "1,000,000,000 tokens is repeated within seed 4. Take the median per horizon, or say which seed each point "
        "has.",
    ),
    (
        {"tokens": [1e9, 1e9], "seeds": [4, 5]},
        "all points have 1,000,000,000 tokens; a loss curve takes at least 2 horizons",
    ),
    ({"losses": [0.9, 0.9]}, "the metric is flat: all 2 points have loss 0.9"),
    (
        {"losses": [0.8, 0.9]},
        "the metric does not improve with tokens: 0.8 at 1,000,000,000, 0.9 at 2,000,000,000 tokens (correlation with "
        "log tokens +1.000). Calibrate further apart.",
    ),
    (
        {"alpha": None},
        "2 horizons can't tell the exponent, which takes 3. Calibrate at one more horizon, or give alpha.",
    ),
    ({"method": "median"}, "method 'median' is not known; it is least_squares or huber"),
    ({"alpha": "x"}, "alpha 'x' is not a number; it is a finite number"),
    ({"alpha_bounds": (0.5, 0.4)}, "alpha_bounds (0.5, 0.4) and asymptote_bounds None rise"),
    ({"asymptote_bounds": (2, 1)}, "alpha_bounds (0.01, 3.0) and asymptote_bounds (2, 1) rise"),
    ({"alpha_prior": (0.4, 0.1)}, "alpha and alpha_prior: a given exponent has no prior; give one of them"),
    ({"alpha": None, "alpha_prior": (0.4, 0)}, "the prior of alpha has standard deviation 0.0; it is positive"),
    ({"delta": 0}, "delta 0 is not allowed; it is a finite number above 0"),
    ({"method": "huber", "losses": [1.0, -0.5]}, "the Huber fit is on log losses, which are positive; there is -0.5"),
    (
        {"method": "huber", "asymptote_bounds": (-2, 0)},
        "the Huber fit has a positive asymptote; asymptote_bounds end at 0",
    ),
]


@pytest.mark.parametrize(("change", "said"), REFUSALS)
def test_what_gives_no_curve_is_said_whole(change: dict[str, Any], said: str) -> None:
    usable: dict[str, Any] = {"tokens": [1e9, 2e9], "losses": [1.0, 0.9], "alpha": 0.4}
    with pytest.raises(LossCurveError) as refused:
        fit_loss_curve(**(usable | change))
    assert str(refused.value) == said
