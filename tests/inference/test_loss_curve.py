"""The loss curve and its solution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_lanes import KNOWN_LOSSES, KNOWN_SCALING_PARAMS, KNOWN_TOKENS

from laneb.inference import LossCurve, fit_loss_curve, solve_horizon
from laneb.inference.loss_curve import FitOptions, LossCurveError
from laneb.inference.robust import HuberProblem
from laneb.statistics.projection import Penalty

TOKENS = np.array([1e8, 2e8, 3e8, 4.5e8, 6e8])


def curve_at(tokens: np.ndarray, asymptote: float, amplitude: float, alpha: float) -> np.ndarray:
    return asymptote + amplitude * (tokens / 1e8) ** -alpha


CURVES = st.tuples(st.floats(0.3, 3), st.floats(0.05, 2), st.floats(0.15, 1.2))


def test_the_known_points_give_the_known_curve_and_horizon() -> None:
    curve = fit_loss_curve(KNOWN_TOKENS, KNOWN_LOSSES, alpha=0.68)
    horizon = solve_horizon(curve, 0.925622)
    assert curve.amplitude == pytest.approx(97635.829, abs=5e-4)
    assert curve.asymptote == pytest.approx(0.854178, abs=5e-7)
    assert curve.r2 == pytest.approx(0.991196, abs=5e-7)
    assert horizon.status == "ok"
    assert horizon.tokens == pytest.approx(1_054_399_890, abs=0.5)
    ratio = horizon.tokens / KNOWN_SCALING_PARAMS
    assert (ratio, 1.05 * ratio) == (pytest.approx(9.576605, abs=5e-7), pytest.approx(10.055436, abs=5e-7))


@given(CURVES)
@settings(max_examples=60, deadline=None)
def test_exact_points_give_back_their_curve(parameters: tuple[float, float, float]) -> None:
    losses = curve_at(TOKENS, *parameters)
    curve = fit_loss_curve(TOKENS, losses)
    assert curve.alpha == pytest.approx(parameters[2], rel=1e-6)
    assert curve.asymptote == pytest.approx(parameters[0], rel=1e-5, abs=1e-5)
    assert curve.r2 == pytest.approx(1.0)


@pytest.mark.parametrize("parameters", [(0.6, 0.4, 0.4), (2.0, 0.3, 0.8), (0.4, 1.5, 0.2)])
def test_the_huber_fit_finds_exact_curves_too(parameters: tuple[float, float, float]) -> None:
    curve = fit_loss_curve(TOKENS, curve_at(TOKENS, *parameters), method="huber")
    assert curve.alpha == pytest.approx(parameters[2], rel=1e-3)
    assert curve.asymptote == pytest.approx(parameters[0], rel=1e-3)


def test_one_bad_run_moves_the_huber_fit_less_than_least_squares() -> None:
    tokens = np.geomspace(1e8, 8e8, 9)
    losses = curve_at(tokens, 0.7, 0.5, 0.5)
    losses[4] += 0.05
    true = curve_at(np.array([5e8]), 0.7, 0.5, 0.5)
    plain, robust = (fit_loss_curve(tokens, losses, alpha=0.5, method=name) for name in ("least_squares", "huber"))
    assert abs(robust.loss(5e8) - true) < 0.2 * abs(plain.loss(5e8) - true)


@given(CURVES, st.floats(-0.2, 5), st.sampled_from([None, 0.5]))
@settings(max_examples=40, deadline=None)
def test_adding_a_constant_to_all_losses_moves_only_the_asymptote(
    parameters: tuple[float, float, float], constant: float, alpha: float | None
) -> None:
    losses = curve_at(TOKENS, *parameters) + np.array([1, -1, 1, -1, 1]) * 1e-3 * parameters[1]
    before, after = fit_loss_curve(TOKENS, losses, alpha), fit_loss_curve(TOKENS, losses + constant, alpha)
    assert after.alpha == pytest.approx(before.alpha, rel=1e-4)
    assert after.amplitude == pytest.approx(before.amplitude, rel=1e-2)
    assert after.asymptote - before.asymptote == pytest.approx(constant, abs=2e-4 * parameters[1] + 1e-6)


@given(CURVES, st.floats(0.1, 10), st.floats(0.1, 1000))
@settings(max_examples=40, deadline=None)
def test_scaling_losses_and_tokens_scales_the_curve(
    parameters: tuple[float, float, float], by_loss: float, by_tokens: float
) -> None:
    losses = curve_at(TOKENS, *parameters)
    before = fit_loss_curve(TOKENS, losses, alpha=0.5)
    after = fit_loss_curve(TOKENS * by_tokens, losses * by_loss, alpha=0.5)
    assert after.asymptote == pytest.approx(before.asymptote * by_loss, rel=1e-8)
    assert after.amplitude == pytest.approx(before.amplitude * by_loss * by_tokens**0.5, rel=1e-8)


def test_the_order_of_the_points_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(len(KNOWN_TOKENS))
    shuffled = fit_loss_curve(np.array(KNOWN_TOKENS)[order], np.array(KNOWN_LOSSES)[order])
    assert shuffled.alpha == pytest.approx(fit_loss_curve(KNOWN_TOKENS, KNOWN_LOSSES).alpha, rel=1e-6)


def test_seed_effects_are_fitted_out() -> None:
    effects = {41: 0.004, 42: -0.001, 43: -0.003}
    tokens = np.tile(TOKENS, 3)
    seeds = np.repeat(list(effects), len(TOKENS)).tolist()
    losses = curve_at(tokens, 0.7, 0.5, 0.5) + np.array([effects[seed] for seed in seeds])
    curve = fit_loss_curve(tokens, losses, seeds=seeds)
    assert curve.alpha == pytest.approx(0.5, rel=1e-6)
    assert curve.seed_effects == {seed: pytest.approx(effect, abs=1e-9) for seed, effect in effects.items()}
    assert curve.residual_sd < 1e-9


def test_seeds_nested_in_horizons_have_no_effects() -> None:
    assert fit_loss_curve(TOKENS, curve_at(TOKENS, 0.7, 0.5, 0.5), seeds=[1, 2, 3, 4, 5]).seed_effects == {}


def test_a_bound_holds_the_asymptote_and_refits_the_amplitude() -> None:
    curve = fit_loss_curve(KNOWN_TOKENS, KNOWN_LOSSES, alpha=0.68, asymptote_bounds=(0.9, 2.0))
    power = np.array(KNOWN_TOKENS, dtype=float) ** -0.68
    assert curve.asymptote == 0.9
    assert curve.amplitude == pytest.approx(power @ (np.array(KNOWN_LOSSES) - 0.9) / (power @ power))


def test_a_prior_pulls_a_free_exponent() -> None:
    losses = curve_at(TOKENS, 0.7, 0.5, 0.5) + np.array([2, -2, 1, 2, -3]) * 1e-4
    free = fit_loss_curve(TOKENS, losses).alpha
    pulled = fit_loss_curve(TOKENS, losses, alpha_prior=(0.9, 0.01)).alpha
    assert abs(pulled - 0.9) < abs(free - 0.9)


NOISY = curve_at(TOKENS, 0.7, 0.5, 0.5) + np.array([2, -2, 1, 2, -3]) * 1e-4


def test_the_huber_fit_keeps_to_bounds_of_the_asymptote() -> None:
    free = fit_loss_curve(TOKENS, NOISY, method="huber")
    held = fit_loss_curve(TOKENS, NOISY, method="huber", asymptote_bounds=(free.asymptote + 0.05, 2.0))
    assert held.asymptote == pytest.approx(free.asymptote + 0.05, rel=1e-6)
    capped = fit_loss_curve(TOKENS, NOISY, method="huber", asymptote_bounds=(0.0, free.asymptote - 0.05))
    assert capped.asymptote == pytest.approx(free.asymptote - 0.05, rel=1e-6)
    wide = fit_loss_curve(TOKENS, NOISY, method="huber", asymptote_bounds=(0.0, math.inf))
    assert wide.asymptote == pytest.approx(free.asymptote, rel=1e-3)
    with pytest.raises(LossCurveError, match="positive asymptote"):
        fit_loss_curve(TOKENS, NOISY, method="huber", asymptote_bounds=(-1.0, 0.0))


def test_a_prior_pulls_the_huber_fit_as_it_pulls_least_squares() -> None:
    for sd in (1e-4, 0.05):
        plain, robust = (
            fit_loss_curve(TOKENS, NOISY, alpha_prior=(0.9, sd), method=name) for name in ("least_squares", "huber")
        )
        assert robust.alpha == pytest.approx(plain.alpha, abs=0.02)
    assert fit_loss_curve(TOKENS, NOISY, alpha_prior=(0.9, 1e-4), method="huber").alpha == pytest.approx(0.9, abs=1e-3)


def test_a_prior_weighs_as_an_observation_of_the_exponent() -> None:
    """Least squares plus ((alpha - mean) / sd)^2 times the residual variance of the free fit."""
    mean, sd = 0.9, 0.05
    free, pulled = fit_loss_curve(TOKENS, NOISY), fit_loss_curve(TOKENS, NOISY, alpha_prior=(mean, sd))

    def objective(alpha: float) -> float:
        held = fit_loss_curve(TOKENS, NOISY, alpha=alpha)
        rss = float(((NOISY - held.loss(TOKENS)) ** 2).sum())
        return rss + max(free.residual_sd**2, (1e-3 * np.ptp(NOISY)) ** 2) * ((alpha - mean) / sd) ** 2

    best = objective(pulled.alpha)
    assert best < objective(pulled.alpha - 1e-3)
    assert best < objective(pulled.alpha + 1e-3)


def test_the_huber_objective_has_the_gradient_that_it_says() -> None:
    effects = np.array([[1.0], [-1.0], [1.0], [-1.0], [1.0]])
    options = FitOptions("huber", None, (0.01, 3.0), (0.9, 0.05), (0.0, math.inf), 1e-3)
    problem = HuberProblem(TOKENS, NOISY, effects, options, Penalty(0.9, 1e-3))
    theta, step = np.array([-1.0, -0.4, 0.6, 0.002]), 1e-6
    _, gradient = problem.value_and_gradient(theta)
    for index in range(4):
        ahead, behind = (problem.value_and_gradient(theta + sign * step * np.eye(4)[index])[0] for sign in (1, -1))
        assert gradient[index] == pytest.approx((ahead - behind) / (2 * step), rel=1e-4), index


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("alpha", [math.nan, "0.5", [0.5]]),
        ("alpha_bounds", [(0.5, 0.1), (0, 1), 0.5, ("a", "b"), (math.nan, 1)]),
        ("alpha_prior", [(0.5,), (0.5, 0), (math.nan, 0.3), 0.5]),
        ("asymptote_bounds", [(1, 0), ("0", 1), 0.5, (math.nan, 1)]),
        ("delta", [0, -1, math.nan, None, "1e-3"]),
        ("method", ["least", None]),
    ],
)
def test_an_option_that_is_no_number_of_its_range_is_refused(option: str, values: list) -> None:
    for value in values:
        with pytest.raises(LossCurveError):
            fit_loss_curve(TOKENS, NOISY, **{option: value})
    with pytest.raises(LossCurveError, match="one of them"):
        fit_loss_curve(TOKENS, NOISY, alpha=0.5, alpha_prior=(0.5, 0.1))


@pytest.mark.parametrize("threshold", [math.nan, math.inf, None, "0.9", [0.9]])
def test_a_threshold_that_is_no_number_is_refused(threshold: object) -> None:
    with pytest.raises(ValueError, match="threshold"):
        solve_horizon(LossCurve(1e4, 0.7, 0.5), threshold)
    with pytest.raises(ValueError, match="no loss curve"):
        solve_horizon(None, 0.9)


@pytest.mark.parametrize(
    ("tokens", "losses", "says"),
    [
        ([1e8], [1.0], "at least 2"),
        ([1e8, 2e8], [1.0], "equally long"),
        ([1e8, 0.0], [1.0, 0.9], "positive"),
        ([1e8, -2e8], [1.0, 0.9], "positive"),
        ([1e8, 1e8, 2e8], [1.0, 1.1, 0.9], "repeated"),
        ([1e8, 2e8, 3e8], [1.0, 1.0, 1.0], "flat"),
        ([1e8, 2e8, 3e8], [0.9, 1.0, 1.1], "does not improve"),
        ([1e8, math.nan], [1.0, 0.9], "not finite"),
        ([1e8, 2e8], [1.0, math.inf], "not finite"),
        (["a", "b"], [1.0, 0.9], "numbers"),
    ],
)
def test_points_that_give_no_curve_are_refused_with_the_reason(tokens: list, losses: list, says: str) -> None:
    with pytest.raises(LossCurveError, match=says):
        fit_loss_curve(tokens, losses, alpha=0.5)


def test_two_horizons_can_not_tell_the_exponent() -> None:
    with pytest.raises(LossCurveError, match="takes 3"):
        fit_loss_curve([1e8, 2e8], [1.0, 0.9])


@pytest.mark.parametrize(
    ("curve", "threshold", "status"),
    [
        (LossCurve(1e4, 0.7, 0.0), 0.9, "invalid_alpha"),
        (LossCurve(1e4, 0.7, -0.5), 0.9, "invalid_alpha"),
        (LossCurve(math.nan, 0.7, math.nan), 0.9, "invalid_alpha"),
        (LossCurve(0.0, 0.7, 0.5), 0.9, "non_positive_A"),
        (LossCurve(-1e4, 0.7, 0.5), 0.9, "non_positive_A"),
        (LossCurve(1e4, 0.7, 0.5), 0.7, "threshold_not_above_asymptote"),
        (LossCurve(1e4, 0.7, 1e-3), 0.70001, "non_finite_target_tokens"),
    ],
)
def test_a_curve_without_a_solution_says_why(curve: LossCurve, threshold: float, status: str) -> None:
    horizon = solve_horizon(curve, threshold)
    assert (horizon.tokens, horizon.status) == (None, status)


@given(CURVES, st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_the_loss_at_the_solved_horizon_is_the_threshold(parameters: tuple[float, float, float], share: float) -> None:
    curve = LossCurve(parameters[1] * 1e8 ** parameters[2], parameters[0], parameters[2])
    threshold = parameters[0] + share * parameters[1]
    assert float(curve.loss(solve_horizon(curve, threshold).tokens)) == pytest.approx(threshold, rel=1e-9)


@pytest.mark.parametrize("alpha", [0.0, -0.5])
def test_a_given_exponent_that_is_not_positive_solves_to_invalid_alpha(alpha: float) -> None:
    curve = fit_loss_curve(KNOWN_TOKENS, KNOWN_LOSSES, alpha=alpha)
    assert solve_horizon(curve, 0.93).status == "invalid_alpha"
