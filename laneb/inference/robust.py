"""The log-sum-exp Huber fit of a loss curve, which a single bad run moves little."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NEGLIGIBLE = 1e-9
"""Summed loss over delta**2 below which the fit is exact."""


def huber(residual: Floats, delta: float) -> tuple[Floats, Floats]:
    """Huber's loss over delta**2 (z**2 / 2 inside 1, |z| - 1/2 beyond, z = residual / delta) and its slope in z."""
    z = residual / delta
    inside = np.abs(z) <= 1.0
    return np.where(inside, 0.5 * z * z, np.abs(z) - 0.5), np.where(inside, z, np.sign(z))


def refine_huber(
    tokens: Floats,
    losses: Floats,
    effects: Floats,
    alpha: float,
    alpha_free: bool,
    alpha_bounds: tuple[float, float],
    delta: float,
    start: Floats,
) -> tuple[float, float, float, Floats]:
    """Minimize the summed Huber loss of log L - logsumexp(a - alpha log D, e) - seed effect.

    Args:
        tokens: [n]; losses: [n], > 0.
        effects: [n, k] sum-to-zero columns of the seed effects.
        alpha: its value, or the start of a free one; alpha_bounds: its range.
        delta: Huber threshold on the log residual.
        start: least-squares coefficients (asymptote and amplitude about the means, then seed effects) to begin from.

    Returns:
        alpha, amplitude, asymptote, seed effects [k] on the log.

    Raises:
        ValueError: a loss is not positive, so that it has no logarithm.
    """
    from scipy.optimize import minimize

    if (losses <= 0).any():
        raise ValueError(f"the Huber fit is on log losses, which are positive; there is {losses.min():g}")
    middle = float(np.log(tokens).mean())
    log_x, log_y = np.log(tokens) - middle, np.log(losses)

    def objective(theta: Floats) -> tuple[float, Floats]:
        a, e, exponent, shifts = theta[0], theta[1], theta[2], theta[3:]
        power = a - exponent * log_x
        log_fit = np.logaddexp(power, e)
        share = np.exp(power - log_fit)
        value, slope = huber(log_y - log_fit - effects @ shifts, delta)
        chain = -slope / delta
        gradient = np.concatenate([[chain @ share, chain @ (1 - share), chain @ (-log_x * share)], effects.T @ chain])
        return float(value.sum()), gradient

    exponent_bounds = alpha_bounds if alpha_free else (alpha, alpha)
    bounds = [(None, None), (None, None), exponent_bounds, *[(None, None)] * effects.shape[1]]
    slope_size = max(float(start[1]), 1e-6)
    best: tuple[float, Floats] | None = None
    for asymptote in (float(losses.mean() + start[0]), *(share * float(losses.min()) for share in (0.3, 0.6, 0.9))):
        if asymptote <= 0:
            continue
        theta = np.concatenate([[np.log(slope_size), np.log(asymptote), alpha], start[2:] / float(losses.mean())])
        value = np.inf
        for _ in range(3):
            # L-BFGS stalls on Huber's kinks; starting afresh from where it stood moves it on.
            found = minimize(
                objective,
                theta,
                jac=True,
                bounds=bounds,
                method="L-BFGS-B",
                options={"maxiter": 1000, "maxfun": 4000, "ftol": 1e-14, "gtol": 1e-9},
            )
            theta, before, value = np.asarray(found.x), value, float(found.fun)
            if value < NEGLIGIBLE or not value < before * (1 - 1e-9):
                break
        if best is None or value < best[0]:
            best = (value, theta)
        if value < NEGLIGIBLE:
            break
    assert best is not None
    a, e, exponent = (float(value) for value in best[1][:3])
    return exponent, float(np.exp(a + exponent * middle)), float(np.exp(e)), best[1][3:]
