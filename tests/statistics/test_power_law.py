"""Power-law fits."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from laneb.statistics import fit_power_law, fit_shifted_power_law

X = np.arange(1.0, 65.0)
GRID = np.array([1.0, 2, 3, 6, 11, 20, 35, 64])


def noisy_curve(seed: int) -> np.ndarray:
    """A shifted power law on GRID with noise, positive."""
    generator = np.random.default_rng(seed)
    clean = generator.uniform(0.5, 5) * GRID ** -generator.uniform(0.1, 2) + generator.uniform(0, 2)
    return np.abs(clean + generator.normal(0, 0.1, GRID.size)) + 1e-3


def r2_of_optuna_alone(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    """Best R^2 of 200 trials over exponent and offset, the amplitude solved for."""
    variance = float(np.sum((y - y.mean()) ** 2))

    def r2(trial: optuna.Trial) -> float:
        basis = x ** -trial.suggest_float("exponent", 0.01, 4.0)
        lifted = y - trial.suggest_float("offset", 0.0, float(y.min()) * (1 - 1e-9))
        amplitude = float(basis @ lifted) / float(basis @ basis)
        return 1.0 - float(np.sum((lifted - amplitude * basis) ** 2)) / variance

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(r2, n_trials=200)
    return study.best_value


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(-3.0, 3.0))
def test_an_exact_power_law_is_recovered(amplitude, exponent):
    fit = fit_power_law(X, amplitude * X**-exponent)
    assert fit.exponent == pytest.approx(exponent, abs=1e-6)
    assert fit.amplitude == pytest.approx(amplitude, rel=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 10.0), st.floats(0.02, 3.0), st.floats(0.0, 10.0), st.sampled_from([X, GRID, GRID * 1e8, X[:3]]))
def test_an_exact_shifted_power_law_is_recovered(amplitude, exponent, offset, x):
    scaled = amplitude * x[0] ** exponent
    fit = fit_shifted_power_law(x, scaled * x**-exponent + offset, trials=0)
    assert fit.exponent == pytest.approx(exponent, abs=1e-6)
    assert fit.amplitude == pytest.approx(scaled, rel=1e-6 * max(1.0, abs(np.log(x[0]))))
    assert fit.offset == pytest.approx(offset, abs=1e-6)
    assert fit.r2 == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(3))
def test_the_shifted_fit_is_never_worse_than_optuna_alone(seed):
    y = noisy_curve(seed)
    alone = r2_of_optuna_alone(GRID, y, seed)
    assert fit_shifted_power_law(GRID, y, trials=0).r2 >= alone
    assert fit_shifted_power_law(GRID, y).r2 >= alone


def test_the_global_search_is_deterministic_and_leaves_no_trace_in_optunas_logging():
    before = optuna.logging.get_verbosity()
    y = noisy_curve(11)
    assert fit_shifted_power_law(GRID, y, seed=3, trials=30) == fit_shifted_power_law(GRID, y, seed=3, trials=30)
    assert optuna.logging.get_verbosity() == before


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-4, 1e4))
def test_scaling_a_curve_scales_amplitude_and_offset_alone(seed, factor):
    y = noisy_curve(seed)
    plain, scaled = (fit_shifted_power_law(GRID, values, trials=0) for values in (y, factor * y))
    assert scaled.exponent == pytest.approx(plain.exponent, rel=1e-5, abs=1e-7)
    assert scaled.offset == pytest.approx(factor * plain.offset, rel=1e-5, abs=1e-7 * factor)
    assert scaled.r2 == pytest.approx(plain.r2, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 5.0), st.floats(0.1, 2.0), st.floats(0.0, 5.0), st.floats(0.0, 100.0))
def test_adding_a_constant_moves_the_offset_alone(amplitude, exponent, offset, constant):
    y = amplitude * GRID**-exponent + offset
    plain, raised = (fit_shifted_power_law(GRID, values, trials=0) for values in (y, y + constant))
    assert raised.exponent == pytest.approx(plain.exponent, abs=1e-6)
    assert raised.offset == pytest.approx(plain.offset + constant, abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.permutations(range(GRID.size)))
def test_neither_the_order_of_points_nor_their_repetition_matters(seed, order):
    y = noisy_curve(seed)
    once = fit_shifted_power_law(GRID, y, trials=0)
    shuffled = np.concatenate([np.array(order), np.array(order)])
    twice = fit_shifted_power_law(GRID[shuffled], y[shuffled], trials=0)
    assert twice.exponent == pytest.approx(once.exponent, rel=1e-6, abs=1e-8)
    assert twice.r2 == pytest.approx(once.r2, abs=1e-9)


def test_the_offset_stays_between_zero_and_the_smallest_value():
    for seed in range(50):
        y = noisy_curve(seed)
        assert 0.0 <= fit_shifted_power_law(GRID, y, trials=0).offset < y.min()
    assert fit_shifted_power_law(GRID, np.maximum(noisy_curve(0) - 2.0, 0.0), trials=0).offset == 0.0


def test_a_flat_curve_explains_nothing():
    plain, shifted = fit_power_law(X, np.full(64, 3.0)), fit_shifted_power_law(X, np.full(64, 3.0), trials=0)
    assert (plain.r2, shifted.r2) == (0.0, 0.0)
    assert plain.amplitude * 5.0**-plain.exponent == pytest.approx(3.0)
    assert fit_power_law(X, np.zeros(64)).amplitude == 0.0


def test_a_rise_has_a_negative_exponent():
    assert fit_power_law(X, X**0.5).exponent == pytest.approx(-0.5)


def test_two_points_are_met_exactly():
    fit = fit_power_law([1, 4], [8, 2])
    assert (fit.amplitude, fit.exponent, fit.r2) == (pytest.approx(8), pytest.approx(1), pytest.approx(1))


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([1, 2, 3], [1, 2], "one length"),
        ([1, 2, float("nan")], [1, 2, 3], "NaN or infinity"),
        ([1, 2, 3], [1, float("inf"), 3], "NaN or infinity"),
        ([0, 1, 2], [1, 2, 3], "not positive"),
        ([2, 2, 2], [1, 2, 3], "distinct"),
        ([], [], "distinct"),
        (None, [1, 2, 3], "x and y"),
        ([1, 2, 3], ["a", "b", "c"], "numbers"),
        ([1, 2, 3], {"a": 1}, "numbers"),
    ],
)
def test_points_that_fix_no_curve_are_refused(x, y, message):
    with pytest.raises(ValueError, match=message):
        fit_power_law(x, y)
    with pytest.raises(ValueError, match=message):
        fit_shifted_power_law(x, y)


def test_the_shifted_fit_refuses_two_points_negative_values_and_negative_trials():
    with pytest.raises(ValueError, match="at least 3 distinct"):
        fit_shifted_power_law([1, 2], [2, 1])
    with pytest.raises(ValueError, match="negative"):
        fit_shifted_power_law([1, 2, 3], [2, 1, -1])
    with pytest.raises(ValueError, match="trials"):
        fit_shifted_power_law([1, 2, 3], [3, 2, 1], trials=-1)
    for option in ({"trials": "10"}, {"trials": None}, {"seed": -1}, {"seed": 0.5}):
        with pytest.raises(ValueError, match=next(iter(option))):
            fit_shifted_power_law([1, 2, 3], [3, 2, 1], **option)
