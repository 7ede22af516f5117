"""General scaling laws over sizes and horizons."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from laneb.inference import fit_parametric_law
from laneb.inference.batched import LawProblem, minimize_batch

TRUE = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}


def published_runs(points: int, noise: float, draw: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes, horizons and losses like those of the runs that the law was published for."""
    generator = np.random.default_rng(draw)
    sizes = 10 ** generator.uniform(7.6, 10.2, points)
    tokens = np.clip(10 ** generator.uniform(18, 22, points) / 6 / sizes, 1e8, 1e12)
    losses = TRUE["E"] + TRUE["A"] * sizes ** -TRUE["alpha"] + TRUE["B"] * tokens ** -TRUE["beta"]
    return sizes, tokens, losses * np.exp(generator.normal(0, noise, points))


def objective(law: dict[str, float], sizes: np.ndarray, tokens: np.ndarray, losses: np.ndarray) -> float:
    fit = np.log(law["E"] + law["A"] * sizes ** -law["alpha"] + law["B"] * tokens ** -law["beta"])
    size = np.abs(fit - np.log(losses))
    return float(np.where(size <= 1e-3, size**2 / 2, 1e-3 * (size - 5e-4)).sum())


def test_exact_runs_give_back_their_law() -> None:
    law = fit_parametric_law(*published_runs(60, 0.0))
    for name, value in TRUE.items():
        assert getattr(law, name) == pytest.approx(value, rel=1e-6), name
    assert law.objective < 1e-15
    assert law.starts == 4500
    assert law.size_exponent == pytest.approx(TRUE["beta"] / (TRUE["alpha"] + TRUE["beta"]))


@pytest.mark.sampling
def test_noisy_runs_give_a_law_no_worse_than_the_truth_with_intervals_around_it() -> None:
    runs = published_runs(60, 0.01, draw=1)
    law = fit_parametric_law(*runs, bootstrap=60)
    assert law == fit_parametric_law(*runs, bootstrap=60), "the same seed gives the same law and intervals"
    fitted = {name: getattr(law, name) for name in TRUE}
    assert law.objective == pytest.approx(objective(fitted, *runs), rel=1e-6)
    assert law.objective < objective(TRUE, *runs)
    for name, value in fitted.items():
        low, high = law.intervals[name]
        assert low <= value <= high, name


def test_no_start_of_a_general_optimizer_ends_lower() -> None:
    sizes, tokens, losses = published_runs(30, 0.02, draw=2)
    law = fit_parametric_law(sizes, tokens, losses)

    def from_theta(theta: np.ndarray) -> float:
        with np.errstate(over="ignore"):
            named = {"A": math.exp(theta[0]), "B": math.exp(theta[1]), "E": math.exp(theta[2])}
        return objective(named | {"alpha": theta[3], "beta": theta[4]}, sizes, tokens, losses) * 1e6

    generator = np.random.default_rng(0)
    for _ in range(8):
        start = [
            generator.uniform(2, 10),
            generator.uniform(2, 12),
            generator.uniform(-1, 1),
            *generator.uniform(0.2, 0.7, 2),
        ]
        assert minimize(
            from_theta, start, method="Nelder-Mead", options={"maxiter": 3000}
        ).fun >= law.objective * 1e6 * (1 - 1e-6)


@pytest.mark.sampling
def test_scaling_all_losses_scales_the_three_terms_alike() -> None:
    sizes, tokens, losses = published_runs(40, 0.005, draw=3)
    plain, doubled = fit_parametric_law(sizes, tokens, losses), fit_parametric_law(sizes, tokens, 2 * losses)
    for name, factor in {"E": 2, "A": 2, "B": 2, "alpha": 1, "beta": 1}.items():
        assert getattr(doubled, name) == pytest.approx(factor * getattr(plain, name), rel=1e-3), name


@pytest.mark.parametrize("slope", [1.0, 0.5])
def test_a_design_on_one_line_of_horizon_on_size_is_refused(slope: float) -> None:
    sizes = np.geomspace(1e8, 1e10, 12)
    tokens = 20 * sizes**slope
    losses = TRUE["E"] + TRUE["A"] * sizes ** -TRUE["alpha"] + TRUE["B"] * tokens ** -TRUE["beta"]
    with pytest.raises(ValueError, match="one line"):
        fit_parametric_law(sizes, tokens, losses)


def test_a_design_near_a_line_says_that_it_hardly_tells_the_parameters_apart() -> None:
    sizes = np.geomspace(1e8, 1e10, 12)
    tokens = 20 * sizes * np.exp(np.random.default_rng(0).normal(0, 0.02, 12))
    losses = TRUE["E"] + TRUE["A"] * sizes ** -TRUE["alpha"] + TRUE["B"] * tokens ** -TRUE["beta"]
    law = fit_parametric_law(sizes, tokens, losses * np.exp(np.random.default_rng(1).normal(0, 0.002, 12)))
    assert law.condition > 1e6
    assert "condition number" in law.warnings[0]
    good = fit_parametric_law(*published_runs(30, 0.01), bootstrap=20)
    assert good.warnings == ()
    assert good.condition < 1e4
    assert good.interval("E") == good.intervals["E"]
    assert good.intervals["E"][0] < good.interval("E", 0.5)[0]
    for name, level in (("C", 0.9), ("E", 95)):
        with pytest.raises(ValueError, match=r"C|level"):
            good.interval(name, level)


def test_every_start_only_falls() -> None:
    sizes, tokens, losses = published_runs(40, 0.02, draw=4)
    problem = LawProblem(
        np.log(sizes) - np.log(sizes).mean(), np.log(tokens) - np.log(tokens).mean(), np.log(losses), 1e-3
    )
    starts = np.random.default_rng(0).normal(0, 2, (50, 5))
    before = problem.losses(problem.terms(starts)[0], None)
    _, after = minimize_batch(problem, starts)
    assert (after <= before).all()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda n, d, y: (n[:5], d[:5], y[:5]), "at least 6"),
        (lambda n, d, y: (n[:-1], d, y), "not as many"),
        (lambda n, d, y: (np.full_like(n, 1e8), d, y), "one size or one horizon"),
        (lambda n, d, y: (n, np.full_like(d, 1e8), y), "one size or one horizon"),
        (lambda n, d, y: (n, d, np.append(y[:-1], np.nan)), r"losses\[29\] is nan"),
        (lambda n, d, y: (n, -d, y), r"tokens\[0\] is -"),
        (lambda n, d, y: (["a"] * 30, d, y), "n_params are numbers"),
        (lambda n, d, y: (n[None], d, y), "one-dimensional"),
    ],
)
def test_points_that_give_no_law_are_refused_with_the_reason(change, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        fit_parametric_law(*change(*published_runs(30, 0.0)))


@pytest.mark.parametrize("options", [{"delta": 0.0}, {"bootstrap": -1}])
def test_options_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="not"):
        fit_parametric_law(*published_runs(30, 0.0), **options)
