"""Power laws through a curve, by least squares on the original scale.

Both fits are linear in all parameters but the exponent, so the exponent alone is searched (`projection`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from laneb.statistics.projection import Projection
from laneb.statistics.symbols import FloatArray

GRID = 240
"""Exponents of each sign at which the residual is looked at: neighbours differ by some 5 %."""

STEEPEST = 36.0
"""Drop, in e-folds between the two nearest abscissae, beyond which a steeper power law can't be told apart."""


@dataclass(frozen=True)
class PowerLawFit:
    """y = amplitude * x ** -exponent; a positive exponent is a decay. r2 is 0 for a flat curve."""

    amplitude: float
    exponent: float
    r2: float


@dataclass(frozen=True)
class ShiftedPowerLawFit:
    """y = amplitude * x ** -exponent + offset; a positive exponent is a decay. r2 is 0 for a flat curve."""

    amplitude: float
    exponent: float
    offset: float
    r2: float


def fit_power_law(x: ArrayLike, y: ArrayLike) -> PowerLawFit:
    """Least-squares fit of y = a x^-p.

    Args:
        x: [K] positive, at least two of them distinct, in any order.
        y: [K] finite.

    Returns:
        amplitude a, exponent p (negative for a rise), R^2 on the scale of y.

    Raises:
        ValueError: arrays of different or too small length, NaN or infinity, x not positive or all equal.

    Example:
        >>> fit = fit_power_law([1, 2, 4, 8], [8.0, 4.0, 2.0, 1.0])
        >>> round(fit.amplitude, 6), round(fit.exponent, 6), round(fit.r2, 6)
        (8.0, 1.0, 1.0)
    """
    fit = Problem(*checked_points(x, y, 2), offset_limit=None).fit()
    return PowerLawFit(fit.amplitude, fit.exponent, fit.r2)


def fit_shifted_power_law(x: ArrayLike, y: ArrayLike, seed: int = 42, trials: int = 200) -> ShiftedPowerLawFit:
    """Least-squares fit of y = a x^-g + b with 0 <= b < min(y).

    Args:
        x: [K] positive, at least three of them distinct, in any order.
        y: [K] finite, not negative.
        seed: of the global search that proposes a start beside the grid.
        trials: of that search; 0 leaves the grid alone.

    Returns:
        amplitude a, exponent g (negative for a rise), offset b, R^2 on the scale of y.

    Raises:
        ValueError: arrays of different or too small length, NaN or infinity, x not positive or fewer than three
            distinct, y negative, trials negative.
    """
    for name, value in (("trials", trials), ("seed", seed)):
        if not isinstance(value, int | np.integer) or value < 0:
            raise ValueError(f"{name}: {value!r} is no integer of at least 0. Use trials=0 to leave the search out.")
    abscissae, values = checked_points(x, y, 3)
    problem = Problem(abscissae, values, offset_limit=largest_offset(values))
    return problem.fit((_proposed_exponent(problem, seed, trials),) if trials else ())


def largest_offset(values: FloatArray) -> float:
    """The largest number below the smallest value, where an offset has to stay; 0 when that is 0."""
    lowest = float(values.min())
    if lowest < 0:
        raise ValueError(f"y: {lowest} is negative, which leaves no offset between 0 and the smallest value.")
    return math.nextafter(lowest, 0.0)


def checked_points(x: ArrayLike, y: ArrayLike, points: int) -> tuple[FloatArray, FloatArray]:
    """Check the points of a fit: finite, x positive with at least `points` distinct values."""
    try:
        abscissae = np.atleast_1d(np.asarray(x, dtype=np.float64))
        values = np.atleast_1d(np.asarray(y, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ValueError(f"x and y: two sequences of numbers are needed ({error}).") from error
    if abscissae.ndim != 1 or abscissae.shape != values.shape:
        raise ValueError(f"x and y: two sequences of one length are needed, got {abscissae.shape} and {values.shape}.")
    if not (np.isfinite(abscissae).all() and np.isfinite(values).all()):
        raise ValueError("x and y: NaN or infinity among the points. Leave those out.")
    if abscissae.size and abscissae.min() <= 0:
        raise ValueError(f"x: {abscissae.min()} is not positive, where a power law has no value.")
    distinct = np.unique(abscissae).size
    if distinct < points:
        raise ValueError(f"x: at least {points} distinct values are needed to fit {points} parameters, got {distinct}.")
    return abscissae, values


class Problem:
    """The fit of one curve: which exponents are looked at, and what the best of them comes to.

    Args:
        x: [K] positive abscissae.
        y: [K] values.
        offset_limit: largest offset allowed, the smallest being 0; None for a law without offset.
        weights: [K] of the squared residuals; by default, all equal.
    """

    def __init__(
        self, x: FloatArray, y: FloatArray, offset_limit: float | None, weights: FloatArray | None = None
    ) -> None:
        self.offset_limit = offset_limit
        offset = None if offset_limit is None else (0.0, offset_limit)
        self.projection = Projection(x, y, offset=offset, weights=weights)
        gaps = np.diff(np.unique(self.projection.log_x))
        span = float(np.ptp(self.projection.log_x))
        rising = np.geomspace(1e-3 / span, STEEPEST / gaps[-1], GRID)
        falling = np.geomspace(1e-3 / span, STEEPEST / gaps[0], GRID)
        self.grid = np.concatenate([-rising[::-1], [0.0], falling])

    def fit(self, proposals: tuple[float, ...] = ()) -> ShiftedPowerLawFit:
        """The best fit; offset 0 where none is allowed."""
        exponent = self.best_exponent(proposals)
        solved, at = self.projection.solve(exponent), self.projection
        mean = float(at.weights @ at.y)
        total = float(at.weights @ (at.y - mean) ** 2)
        flat = total <= np.finfo(float).eps ** 2
        r2 = 0.0 if flat else 1.0 - float(at.weights @ (solved.residual / at.scale) ** 2) / total
        offset = min(max(solved.offset, 0.0), self.offset_limit or 0.0)
        return ShiftedPowerLawFit(solved.amplitude, exponent, offset, r2)

    def best_exponent(self, proposals: tuple[float, ...] = ()) -> float:
        """The exponent with the smallest residual among grid and proposals and what lies between them."""
        return self.projection.best(np.unique(np.concatenate([self.grid, proposals])) if proposals else self.grid)

    def residuals(self, exponents: FloatArray) -> FloatArray:
        """[E] weighted mean of the squared residuals of the scaled values, the best of each exponent."""
        return self.projection.residuals(exponents)


def _proposed_exponent(problem: Problem, seed: int, trials: int) -> float:
    """The best exponent, of either sign, that an Optuna study finds.

    Trials are drawn at random: along this one axis they come as near to the lowest valley as the tree-structured
    estimator's do, in a tenth of the time, and its bottom is found exactly afterwards.
    """
    import optuna

    low, high = float(problem.grid[0]), float(problem.grid[-1])
    smallest = float(problem.grid[problem.grid > 0][0])

    def objective(trial: optuna.Trial) -> float:
        position = trial.suggest_float("position", -1.0, 1.0)
        steepest = high if position > 0 else -low
        size = smallest * (steepest / smallest) ** abs(position)
        return float(problem.residuals(np.array([math.copysign(size, position)]))[0])

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        study.optimize(objective, n_trials=trials)
    finally:
        optuna.logging.set_verbosity(verbosity)
    position = float(study.best_params["position"])
    steepest = high if position > 0 else -low
    return math.copysign(smallest * (steepest / smallest) ** abs(position), position)
