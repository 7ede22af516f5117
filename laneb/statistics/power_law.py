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

VALLEYS = 4
"""Valleys of the residual, deepest first, that are followed to their bottom."""

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
    if trials < 0:
        raise ValueError(f"trials: {trials} is negative. Use 0 to leave the global search out.")
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


class Problem:
    """The fit as a problem in the exponent alone. Values are scaled to at most 1, so that no square overflows.

    Args:
        x: [K] positive abscissae.
        y: [K] values.
        offset_limit: largest offset allowed, the smallest being 0; None for a law without offset.
        weights: [K] of the squared residuals; by default, all equal.
    """

    def __init__(
        self, x: FloatArray, y: FloatArray, offset_limit: float | None, weights: FloatArray | None = None
    ) -> None:
        self.scale = float(np.abs(y).max()) or 1.0
        self.y = y / self.scale
        self.log_x = np.log(x)
        self.offset_limit = offset_limit
        self.weights = np.full(x.size, 1.0 / x.size) if weights is None else weights / weights.sum()
        gaps = np.diff(np.unique(self.log_x))
        span = float(self.log_x.max() - self.log_x.min())
        rising = np.geomspace(1e-3 / span, STEEPEST / gaps[-1], GRID)
        falling = np.geomspace(1e-3 / span, STEEPEST / gaps[0], GRID)
        self.grid = np.concatenate([-rising[::-1], [0.0], falling])

    def fit(self, proposals: tuple[float, ...] = ()) -> ShiftedPowerLawFit:
        """The best fit; offset 0 where none is allowed."""
        exponent = self.best_exponent(proposals)
        factors, offsets, left = self._solve(self._basis(np.array([exponent])))
        with np.errstate(over="ignore"):
            largest_at = float(self.log_x.min() if exponent >= 0 else self.log_x.max())
            amplitude = float(factors[0] * self.scale * np.exp(exponent * largest_at))
        offset = min(float(offsets[0]) * self.scale, self.offset_limit or 0.0)
        mean = float(self.weights @ self.y)
        total = float(self.weights @ (self.y - mean) ** 2)
        flat = total <= np.finfo(float).eps ** 2
        r2 = 0.0 if flat else 1.0 - float(self.weights @ left[0] ** 2) / total
        return ShiftedPowerLawFit(amplitude if factors[0] else 0.0, exponent, offset, r2)

    def best_exponent(self, proposals: tuple[float, ...] = ()) -> float:
        """The exponent with the smallest residual: the deepest valleys among grid and proposals, to their bottom."""
        grid = np.unique(np.concatenate([self.grid, proposals])) if proposals else self.grid
        residuals = self.residuals(grid)
        candidates = [float(grid[np.argmin(residuals)])]
        valleys = np.flatnonzero((residuals[1:-1] < residuals[:-2]) & (residuals[1:-1] <= residuals[2:])) + 1
        for index in valleys[np.argsort(residuals[valleys], kind="stable")[:VALLEYS]]:
            candidates.append(self._bottom(grid[index - 1 : index + 2]))
        return candidates[int(np.argmin(self.residuals(np.array(candidates))))]

    def residuals(self, exponents: FloatArray) -> FloatArray:
        """[E] weighted mean of the squared residuals of the scaled values, the best of each exponent."""
        return np.asarray(self._solve(self._basis(exponents))[2] ** 2 @ self.weights)

    def _basis(self, exponents: FloatArray) -> FloatArray:
        """[E, K] x^-exponent, scaled so that its largest value is 1."""
        return np.exp(-exponents[:, None] * self._log_ratios(exponents))

    def _log_ratios(self, exponents: FloatArray) -> FloatArray:
        """[E, K] log x less its value where x^-exponent is largest."""
        largest_at: FloatArray = np.where(exponents >= 0, self.log_x.min(), self.log_x.max())
        return self.log_x[None, :] - largest_at[:, None]

    def _solve(self, basis: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """[E] factors of the scaled basis [E, K], [E] offsets, [E, K] residuals.

        With the factor solved for, the residual is convex in the offset: clipping gives the constrained optimum.
        """
        offsets = np.zeros(basis.shape[0])
        if self.offset_limit is not None:
            means, mean = basis @ self.weights, float(self.weights @ self.y)
            centred = basis - means[:, None]
            spread = centred**2 @ self.weights
            slopes = (centred @ (self.weights * (self.y - mean))) / np.where(spread > 0, spread, np.inf)
            offsets = np.clip(mean - slopes * means, 0.0, self.offset_limit / self.scale)
        raised = self.y[None, :] - offsets[:, None]
        factors = ((basis * raised) @ self.weights) / (basis**2 @ self.weights)
        return factors, offsets, raised - factors[:, None] * basis

    def _slope(self, exponent: float) -> float:
        """Half the residual's derivative; what was solved for drops out, as the residual is normal to it."""
        log_ratios = self._log_ratios(np.array([exponent]))
        basis = np.exp(-exponent * log_ratios)
        factors, _, left = self._solve(basis)
        return float((self.weights * left[0]) @ (factors[0] * (log_ratios * basis)[0]))

    def _bottom(self, valley: FloatArray) -> float:
        """The exact minimum between the outer two of three exponents, of which the middle one is lowest."""
        from scipy.optimize import brentq

        slopes = [self._slope(float(exponent)) for exponent in valley]
        for side in (0, 1):
            if slopes[side] < 0 < slopes[side + 1]:
                low, high = float(valley[side]), float(valley[side + 1])
                return float(brentq(self._slope, low, high, xtol=1e-300, rtol=4 * np.finfo(float).eps))
        return float(valley[1])


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
