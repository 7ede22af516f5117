"""Huber's loss, and the log-sum-exp fit of a loss curve with it, which a single bad run moves little."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from laneb.statistics.projection import Penalty

if TYPE_CHECKING:
    from laneb.inference.loss_curve import FitOptions, FittedCurve

Floats = NDArray[np.float64]

NEGLIGIBLE = 1e-9
"""Summed loss over delta**2 below which the fit is exact."""
SMALLEST_ASYMPTOTE = 1e-12
"""Of the smallest loss: at its lower end an asymptote has a logarithm too."""


def huber(residual: Floats, delta: float) -> tuple[Floats, Floats]:
    """Huber's loss over delta**2 (z**2 / 2 inside 1, |z| - 1/2 beyond, z = residual / delta) and its slope in z.

    >>> value, slope = huber(np.array([0.5, -3.0]), 1.0)
    >>> value.tolist(), slope.tolist()
    ([0.125, 2.5], [0.5, -1.0])
    """
    z = residual / delta
    size = np.abs(z)
    return np.where(size <= 1.0, 0.5 * size * size, size - 0.5), np.clip(z, -1.0, 1.0)


@dataclass(frozen=True)
class HuberProblem:
    """The summed Huber loss over delta**2 of log L - logsumexp(a - alpha log D, e) - effect of the seed.

    theta holds a (log amplitude at the middle of log D), e (log asymptote), alpha and the seed effects' shifts.
    """

    tokens: Floats
    """[n]."""
    losses: Floats
    """[n], > 0."""
    effects: Floats
    """[n, k] sum-to-zero columns of the seed effects."""
    options: FitOptions
    penalty: Penalty | None
    """The prior of alpha, on the scale of the mean squared loss."""

    @property
    def middle(self) -> float:
        """Mean log tokens."""
        return float(np.log(self.tokens).mean())

    def value_and_gradient(self, theta: Floats) -> tuple[float, Floats]:
        """The objective at theta [3 + k], and its gradient."""
        a, e, exponent, shifts = theta[0], theta[1], theta[2], theta[3:]
        log_x = np.log(self.tokens) - self.middle
        power = a - exponent * log_x
        log_fit = np.logaddexp(power, e)
        share = np.exp(power - log_fit)
        value, slope = huber(np.log(self.losses) - log_fit - self.effects @ shifts, self.options.delta)
        chain = -slope / self.options.delta
        gradient = np.concatenate(
            [[chain @ share, chain @ (1 - share), chain @ (-log_x * share)], self.effects.T @ chain]
        )
        total = float(value.sum())
        if self.penalty is not None:
            # Squared log residuals are squared losses over the squared loss; Huber's loss halves them.
            weight = self.penalty.weight * len(self.losses) / (self.losses.mean() * self.options.delta) ** 2 / 2
            total += float(weight * (exponent - self.penalty.mean) ** 2)
            gradient[2] += 2 * weight * (exponent - self.penalty.mean)
        return total, gradient

    def bounds(self) -> list[tuple[float | None, float | None]]:
        """Of theta."""
        low, high = self.options.asymptote_bounds
        smallest = SMALLEST_ASYMPTOTE * float(self.losses.min())
        asymptote = (math.log(max(low, smallest)) if low > 0 else None, math.log(high) if math.isfinite(high) else None)
        held = self.options.alpha
        exponent = self.options.alpha_bounds if held is None else (held, held)
        return [(None, None), asymptote, exponent, *[(None, None)] * self.effects.shape[1]]


def refine_huber(problem: HuberProblem, start: FittedCurve) -> FittedCurve:
    """Minimize the summed Huber loss, beginning at a least-squares fit and at other asymptotes.

    Raises:
        ValueError: a loss is not positive, so that it has no logarithm, or no asymptote above 0 is allowed.
    """
    from scipy.optimize import minimize

    from laneb.inference.loss_curve import FittedCurve, LossCurveError

    losses, (low, high) = problem.losses, problem.options.asymptote_bounds
    if (losses <= 0).any():
        raise LossCurveError(f"the Huber fit is on log losses, which are positive; there is {losses.min():g}")
    if high <= 0:
        raise LossCurveError(f"the Huber fit has a positive asymptote; asymptote_bounds end at {high:g}")
    bounds = problem.bounds()
    at_middle = math.log(max(abs(start.amplitude), 1e-300)) - start.alpha * problem.middle
    best: tuple[float, Floats] | None = None
    smallest = float(losses.min())
    for asymptote in (start.asymptote, *(share * smallest for share in (0.3, 0.6, 0.9))):
        held = float(np.clip(asymptote, max(low, SMALLEST_ASYMPTOTE * smallest), high))
        theta = np.concatenate([[at_middle, math.log(held), start.alpha], start.shifts / float(losses.mean())])
        value = np.inf
        for _ in range(3):
            # L-BFGS stalls on Huber's kinks; starting afresh from where it stood moves it on.
            found = minimize(
                problem.value_and_gradient, theta, jac=True, bounds=bounds, method="L-BFGS-B",
                options={"maxiter": 1000, "maxfun": 4000, "ftol": 1e-14, "gtol": 1e-9},
            )  # fmt: skip
            theta, before, value = np.asarray(found.x), value, float(found.fun)
            if value < NEGLIGIBLE or not value < before * (1 - 1e-9):
                break
        if best is None or value < best[0]:
            best = (value, theta)
        if value < NEGLIGIBLE:
            break
    assert best is not None
    a, e, exponent = (float(value) for value in best[1][:3])
    amplitude, asymptote, shifts = math.exp(a + exponent * problem.middle), math.exp(e), best[1][3:]
    fitted = (asymptote + amplitude * problem.tokens**-exponent) * np.exp(problem.effects @ shifts)
    return FittedCurve(exponent, amplitude, asymptote, shifts, fitted)
