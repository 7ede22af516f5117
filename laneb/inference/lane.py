"""One lane's finals solved for a threshold: levels, curve, horizon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laneb.inference.horizon import SolveStatus, solve_horizon
from laneb.inference.interpolation import Interpolation, curve_estimator
from laneb.inference.levels import Cells, Levels, estimate_levels
from laneb.inference.loss_curve import LossCurve, Method, fit_loss_curve

Floats = NDArray[np.float64]

EXTRAPOLATION_LIMIT = 1.5
"""Beyond this factor outside the calibrated horizons the loss curve is a guess, and no ratio is given."""
ASSUMED_ALPHA = 0.5
"""Curvature between two horizons, which can't tell an exponent; bracketed, the ratio hardly depends on it."""
CURVATURE_BOUNDS = (0.1, 1.0)
"""A fitted exponent beyond these would bend the interpolation by noise."""
CURVATURE_PRIOR_SD = 0.3
"""How far the finals may draw the curvature from a given exponent."""


@dataclass(frozen=True)
class Lane:
    """One lane's levels, curve and solution."""

    levels: Levels
    curve: LossCurve
    tokens: float | None
    """None unless status is "ok"."""
    status: SolveStatus
    bracketed: bool
    extrapolation_factor: float | None
    estimate: Callable[[Floats], tuple[Floats, Floats]]
    """For horizons [g], the estimated loss [g] and its weights on the cells [g, n]."""
    monotone: bool
    """The levels fall from each horizon to the next."""


def solve_lane(
    cells: Cells, threshold: float, alpha: float | None = None, alpha_prior: tuple[float, float] | None = None
) -> Lane:
    """Levels, loss curve and the horizon at which the threshold is reached; see `infer_ratio`.

    Raises:
        LossCurveError: fewer than 2 horizons, or losses that do not improve with tokens.
    """
    curve = fit_cells(cells, alpha, alpha_prior)
    levels = estimate_levels(cells, curve)
    bend = _curvature(cells, curve, alpha)
    interpolation = Interpolation.through(levels, bend)
    outside = curve_estimator(cells, curve)
    first, last = float(cells.horizons[0]), float(cells.horizons[-1])

    def estimate(tokens: Floats) -> tuple[Floats, Floats]:
        inner_loss, inner_weights = interpolation.estimate(np.clip(tokens, first, last))
        outer_loss, outer_weights = outside(tokens)
        inside = (tokens >= first) & (tokens <= last)
        return np.where(inside, inner_loss, outer_loss), np.where(inside[:, None], inner_weights, outer_weights)

    bracketed = interpolation.brackets(threshold)
    tokens: float | None
    status: SolveStatus
    if bracketed:
        tokens, status = interpolation.solve(threshold), "ok"
    else:
        horizon = solve_horizon(curve, threshold)
        tokens, status = horizon.tokens, horizon.status
    factor = None if tokens is None else max(1.0, tokens / last, first / tokens)
    if factor is not None and factor > EXTRAPOLATION_LIMIT:
        tokens, status = None, "extrapolation_beyond_limit"
    if tokens is not None and levels.noise_sd >= levels.level[0] - levels.level[-1]:
        tokens, status = None, "noise_exceeds_spread"
    return Lane(levels, curve, tokens, status, bracketed, factor, estimate, interpolation.monotone)


def solve_cells(
    cells: Cells, threshold: float, alpha: float | None = None, alpha_prior: tuple[float, float] | None = None
) -> float | None:
    """Tokens of a lane's answer; None where it has none or can't be used."""
    try:
        return solve_lane(cells, threshold, alpha, alpha_prior).tokens
    except ValueError:
        return None


def _curvature(cells: Cells, curve: LossCurve, alpha: float | None) -> float:
    """Exponent that bends the interpolation: the finals' own where they tell it, near a given one.

    A given exponent that is wrong by 0.2 would move the answer by a percent between horizons a factor 2 apart.
    """
    if alpha is not None and len(cells.horizons) < 3:
        return alpha
    own = curve.alpha if alpha is None else fit_cells(cells, None, (alpha, CURVATURE_PRIOR_SD)).alpha
    return float(np.clip(own, *CURVATURE_BOUNDS))


def fit_cells(
    cells: Cells,
    alpha: float | None,
    alpha_prior: tuple[float, float] | None = None,
    *,
    method: Method = "least_squares",
    asymptote_bounds: tuple[float, float] | None = None,
) -> LossCurve:
    """The loss curve of a lane's cells, with seed effects where they can be told; see `fit_loss_curve`."""
    columns = cells.effect_columns().shape[1]
    seeds = [cells.seeds[index] for index in cells.seed_index] if columns else None
    tokens, losses = cells.tokens, cells.losses
    if seeds is None and len(cells.horizons) < len(losses):
        losses = np.array([losses[cells.horizon_index == index].mean() for index in range(len(cells.horizons))])
        tokens = cells.horizons
    if alpha is None and alpha_prior is None and len(cells.horizons) < 3:
        alpha = ASSUMED_ALPHA
    return fit_loss_curve(
        tokens, losses, alpha, seeds=seeds, alpha_prior=alpha_prior, method=method, asymptote_bounds=asymptote_bounds
    )
