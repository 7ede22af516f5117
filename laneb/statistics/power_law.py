"""Power laws through a curve, by least squares on the original scale.

Both fits are linear in all parameters but the exponent. So the exponent alone is searched: at each, the others are
solved for in closed form, and the squared residual is a function of one variable with a known derivative (variable
projection; Golub and Pereyra 1973). A geometric grid finds its valleys, the zero of the derivative its exact minimum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

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
    """
    problem = _Problem(*_checked(x, y, 2), offset_limit=None)
    exponent = problem.best_exponent(())
    amplitude, _ = problem.coefficients(exponent)
    return PowerLawFit(problem.amplitude(amplitude, exponent), exponent, problem.r2(exponent))


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
    abscissae, values = _checked(x, y, 3)
    lowest = float(values.min())
    if lowest < 0:
        raise ValueError(f"y: {lowest} is negative, which leaves no offset between 0 and the smallest value.")
    if trials < 0:
        raise ValueError(f"trials: {trials} is negative. Use 0 to leave the global search out.")
    problem = _Problem(abscissae, values, offset_limit=math.nextafter(lowest, 0.0))
    proposals = (_proposed_exponent(problem, seed, trials),) if trials else ()
    exponent = problem.best_exponent(proposals)
    amplitude, offset = problem.coefficients(exponent)
    return ShiftedPowerLawFit(problem.amplitude(amplitude, exponent), exponent, offset, problem.r2(exponent))


def _checked(x: ArrayLike, y: ArrayLike, points: int) -> tuple[FloatArray, FloatArray]:
    abscissae = np.atleast_1d(np.asarray(x, dtype=np.float64))
    values = np.atleast_1d(np.asarray(y, dtype=np.float64))
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


class _Problem:
    """The fit as a problem in the exponent alone. Values are scaled to at most 1, so that no square overflows."""

    def __init__(self, x: FloatArray, y: FloatArray, offset_limit: float | None) -> None:
        self.scale = float(np.abs(y).max()) or 1.0
        self.y = y / self.scale
        self.log_x = np.log(x)
        self.offset_limit = None if offset_limit is None else offset_limit / self.scale
        gaps = np.diff(np.unique(self.log_x))
        span = float(self.log_x.max() - self.log_x.min())
        rising = np.geomspace(1e-3 / span, STEEPEST / gaps[-1], GRID)
        falling = np.geomspace(1e-3 / span, STEEPEST / gaps[0], GRID)
        self.grid = np.concatenate([-rising[::-1], [0.0], falling])

    def basis(self, exponent: float) -> FloatArray:
        """x^-exponent, scaled so that its largest value is 1."""
        return np.exp(-exponent * (self.log_x - self._reference(exponent)))

    def _reference(self, exponent: float) -> float:
        return float(self.log_x.min() if exponent >= 0 else self.log_x.max())

    def amplitude(self, coefficient: float, exponent: float) -> float:
        """The factor of x^-exponent in the units of y, from that of the scaled basis."""
        if coefficient == 0.0:
            return 0.0
        with np.errstate(over="ignore"):
            return float(coefficient * self.scale * np.exp(exponent * self._reference(exponent)))

    def coefficients(self, exponent: float) -> tuple[float, float]:
        """Best factor of the scaled basis, and best offset in the units of y (0 for the plain law)."""
        factor, offset = self._solve(self.basis(exponent))
        return factor, offset * self.scale

    def _solve(self, basis: FloatArray) -> tuple[float, float]:
        offset = 0.0
        if self.offset_limit is not None:
            centred = basis - basis.mean()
            spread = float(centred @ centred)
            slope = float(centred @ (self.y - self.y.mean())) / spread if spread > 0 else 0.0
            # With the factor solved for, the residual is convex in the offset: clipping gives the constrained optimum.
            offset = min(max(float(self.y.mean()) - slope * float(basis.mean()), 0.0), self.offset_limit)
        return float(basis @ (self.y - offset)) / float(basis @ basis), offset

    def residual(self, exponent: float) -> float:
        """Sum of squared residuals, on the scaled values."""
        basis = self.basis(exponent)
        factor, offset = self._solve(basis)
        left = self.y - offset - factor * basis
        return float(left @ left)

    def gradient(self, exponent: float) -> float:
        """Half the derivative of the residual; what was solved for drops out, as the residual is normal to it."""
        basis = self.basis(exponent)
        factor, offset = self._solve(basis)
        return float((self.y - offset - factor * basis) @ (factor * self.log_x * basis))

    def best_exponent(self, proposals: tuple[float, ...]) -> float:
        """The exponent with the smallest residual: every valley of the grid, and every proposal's, to its bottom."""
        grid = np.unique(np.concatenate([self.grid, proposals])) if proposals else self.grid
        residuals = np.array([self.residual(exponent) for exponent in grid])
        best, smallest = float(grid[np.argmin(residuals)]), float(residuals.min())
        for index in np.flatnonzero((residuals[1:-1] <= residuals[:-2]) & (residuals[1:-1] <= residuals[2:])) + 1:
            bottom = self._bottom(float(grid[index - 1]), float(grid[index]), float(grid[index + 1]))
            residual = self.residual(bottom)
            if residual < smallest:
                best, smallest = bottom, residual
        return best

    def _bottom(self, left: float, middle: float, right: float) -> float:
        from scipy.optimize import brentq

        slopes = self.gradient(left), self.gradient(middle), self.gradient(right)
        for low, high, (before, after) in ((left, middle, slopes[:2]), (middle, right, slopes[1:])):
            if before < 0 < after:
                return float(brentq(self.gradient, low, high, xtol=1e-300, rtol=4 * np.finfo(float).eps))
        return middle

    def r2(self, exponent: float) -> float:
        """1 - residual / variance about the mean, on the scale of y; 0 where there is no variance to explain."""
        total = float(np.sum((self.y - self.y.mean()) ** 2))
        if total <= self.y.size * np.finfo(float).eps ** 2:
            return 0.0
        return 1.0 - self.residual(exponent) / total


def _proposed_exponent(problem: _Problem, seed: int, trials: int) -> float:
    """The best exponent that Optuna's tree-structured Parzen estimator finds, of either sign."""
    import optuna

    low, high = float(problem.grid[0]), float(problem.grid[-1])
    smallest = float(problem.grid[problem.grid > 0][0])

    def objective(trial: optuna.Trial) -> float:
        position = trial.suggest_float("position", -1.0, 1.0)
        steepest = high if position > 0 else -low
        size = smallest * (steepest / smallest) ** abs(position)
        return problem.residual(math.copysign(size, position))

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(objective, n_trials=trials)
    finally:
        optuna.logging.set_verbosity(verbosity)
    position = float(study.best_params["position"])
    steepest = high if position > 0 else -low
    return math.copysign(smallest * (steepest / smallest) ** abs(position), position)
