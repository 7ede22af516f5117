"""Least squares in all parameters of a power law but its exponent: variable projection (Golub and Pereyra 1973).

The law is y = offset + factor * basis + columns @ shifts with basis = x ** -exponent. At each exponent the rest is
solved for in closed form, so the squared residual is a function of the exponent alone, with a known derivative. A grid
finds its valleys, the zero of the derivative their exact bottoms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from laneb.statistics.symbols import FloatArray

VALLEYS = 4
"""Valleys of the residual, deepest first, that are followed to their bottom."""

FREE = (-np.inf, np.inf)
"""An offset without bounds."""


@dataclass(frozen=True)
class Penalty:
    """weight * (exponent - mean) ** 2, added to the mean squared residual (on the scale of y squared)."""

    mean: float
    weight: float


@dataclass(frozen=True)
class Solved:
    """The law at one exponent, on the scale of y."""

    amplitude: float
    """Of x ** -exponent; infinite where that is more than a float holds."""
    offset: float
    shifts: FloatArray
    """[k] of the columns."""
    residual: FloatArray
    """[K]."""


@dataclass(frozen=True)
class _Solutions:
    """[E] factors of the scaled basis, [E] offsets, [E, K] residuals with the columns taken out, times root weights."""

    factors: FloatArray
    offsets: FloatArray
    residuals: FloatArray


class Projection:
    """The law as a problem in the exponent alone. Values are scaled to at most 1, so that no square overflows.

    Args:
        x: [K] positive abscissae.
        y: [K] values.
        offset: range of the offset; None for a law without one.
        columns: [K, k] further linear terms.
        weights: [K] of the squared residuals; by default, all equal.
    """

    def __init__(
        self,
        x: FloatArray,
        y: FloatArray,
        *,
        offset: tuple[float, float] | None,
        columns: FloatArray | None = None,
        weights: FloatArray | None = None,
    ) -> None:
        self.scale = float(np.abs(y).max()) or 1.0
        self.y = y / self.scale
        self.log_x = np.log(x)
        self.offset = offset
        self.columns = np.zeros((x.size, 0)) if columns is None else columns
        self.weights = np.full(x.size, 1.0 / x.size) if weights is None else weights / weights.sum()
        self._roots = np.sqrt(self.weights)
        ones = self._roots[:, None]
        self._fixed = _orthonormal(self.columns * ones)
        self._free = _orthonormal(np.hstack([ones, self.columns * ones])) if offset is not None else self._fixed
        self._ones = _without(self._roots, self._fixed)

    def residuals(self, exponents: FloatArray) -> FloatArray:
        """[E] weighted mean of the squared residuals of the scaled values, the best of each exponent."""
        return np.asarray((self._solve(self._basis(exponents)).residuals ** 2).sum(axis=1))

    def solve(self, exponent: float) -> Solved:
        """The law at an exponent."""
        terms = [self._basis(np.array([exponent])).T, self.columns]
        # About the mean, so that the columns are of one size and a constant added to y comes out to the last digit.
        shift = float(self.y.mean())
        if self.offset is None:
            rest, offset = self._least_squares(np.hstack(terms), self.y), 0.0
        else:
            found = self._least_squares(np.hstack([np.ones((self.y.size, 1)), *terms]), self.y - shift)
            rest, offset = found[1:], float(found[0]) + shift
            held = float(np.clip(offset, self.offset[0] / self.scale, self.offset[1] / self.scale))
            if held != offset:
                rest, offset = self._least_squares(np.hstack(terms), self.y - held), held
        residual = self.y - offset - np.hstack(terms) @ rest
        largest_at = self.log_x.min() if exponent >= 0 else self.log_x.max()
        with np.errstate(over="ignore"):
            amplitude = float(rest[0] * self.scale * np.exp(exponent * largest_at)) if rest[0] else 0.0
        return Solved(amplitude, offset * self.scale, rest[1:] * self.scale, residual * self.scale)

    def best(self, grid: FloatArray, penalty: Penalty | None = None) -> float:
        """The exponent with the smallest residual (and penalty): the grid's deepest valleys, to their bottom."""
        values = self._objective(grid, penalty)
        candidates = [float(grid[np.argmin(values)])]
        valleys = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:])) + 1
        for index in valleys[np.argsort(values[valleys], kind="stable")[:VALLEYS]]:
            candidates.append(self._bottom(grid[index - 1 : index + 2], penalty))
        return candidates[int(np.argmin(self._objective(np.array(candidates), penalty)))]

    def _objective(self, exponents: FloatArray, penalty: Penalty | None) -> FloatArray:
        values = self.residuals(exponents)
        if penalty is not None:
            values = values + penalty.weight / self.scale**2 * (exponents - penalty.mean) ** 2
        return values

    def _basis(self, exponents: FloatArray) -> FloatArray:
        """[E, K] x^-exponent, scaled so that its largest value is 1."""
        return np.exp(-exponents[:, None] * self._log_ratios(exponents))

    def _log_ratios(self, exponents: FloatArray) -> FloatArray:
        """[E, K] log x less its value where x^-exponent is largest."""
        largest_at: FloatArray = np.where(exponents >= 0, self.log_x.min(), self.log_x.max())
        return self.log_x[None, :] - largest_at[:, None]

    def _solve(self, basis: FloatArray) -> _Solutions:
        """The linear rest for each of the scaled bases [E, K].

        With the others solved for, the residual is convex in the offset: clipping gives the constrained optimum.
        """
        powers, values = basis * self._roots, self.y * self._roots
        offsets = np.zeros(basis.shape[0])
        if self.offset is not None:
            free_power, free_value = _without(powers, self._free), _without(values, self._free)
            factors = _ratio(free_power @ free_value, (free_power**2).sum(axis=1))
            left = free_value - factors[:, None] * free_power
            if self.offset == FREE:
                return _Solutions(factors, offsets, left)
            offsets = (values - factors[:, None] * powers) @ self._ones / max(float(self._ones @ self._ones), 1e-300)
            held = np.clip(offsets, self.offset[0] / self.scale, self.offset[1] / self.scale)
            if (held == offsets).all():
                return _Solutions(factors, offsets, left)
            offsets = held
        powers = _without(powers, self._fixed)
        raised = _without(values, self._fixed) - offsets[:, None] * self._ones
        factors = _ratio((powers * raised).sum(axis=1), (powers**2).sum(axis=1))
        return _Solutions(factors, offsets, raised - factors[:, None] * powers)

    def _slope(self, exponent: float, penalty: Penalty | None) -> float:
        """Half the objective's derivative; what was solved for drops out, as the residual is normal to it."""
        log_ratios = self._log_ratios(np.array([exponent]))
        basis = np.exp(-exponent * log_ratios)
        found = self._solve(basis)
        slope = float((self._roots * found.residuals[0]) @ (found.factors[0] * (log_ratios * basis)[0]))
        return slope if penalty is None else slope + penalty.weight / self.scale**2 * (exponent - penalty.mean)

    def _bottom(self, valley: FloatArray, penalty: Penalty | None) -> float:
        """The exact minimum between the outer two of three exponents, of which the middle one is lowest."""
        from scipy.optimize import brentq

        slopes = [self._slope(float(exponent), penalty) for exponent in valley]
        for side in (0, 1):
            if slopes[side] < 0 < slopes[side + 1]:
                low, high = float(valley[side]), float(valley[side + 1])
                return float(brentq(self._slope, low, high, args=(penalty,), xtol=1e-300, rtol=4 * np.finfo(float).eps))
        return float(valley[1])

    def _least_squares(self, design: FloatArray, values: FloatArray) -> FloatArray:
        return np.asarray(np.linalg.lstsq(design * self._roots[:, None], values * self._roots, rcond=None)[0])


def _orthonormal(columns: FloatArray) -> FloatArray:
    """[K, k] orthonormal columns of the same span."""
    return np.asarray(np.linalg.qr(columns)[0]) if columns.shape[1] else columns


def _without(values: FloatArray, basis: FloatArray) -> FloatArray:
    """Values [..., K] less their part in the span of orthonormal columns [K, k]."""
    return np.asarray(values - (values @ basis) @ basis.T) if basis.shape[1] else values


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """[E] quotients; 0 where nothing is left to divide by."""
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), 0.0)
