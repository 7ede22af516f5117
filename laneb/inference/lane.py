"""One lane's finals solved for a target: levels, curve, horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laneb.inference.horizon import SolveStatus, solve_horizon
from laneb.inference.levels import Cells, Levels, estimate_levels
from laneb.inference.loss_curve import LossCurve, Method, fit_loss_curve
from laneb.inference.loss_estimate import PRIOR_SD, Estimator, LossEstimate

Floats = NDArray[np.float64]

EXTRAPOLATION_LIMIT = 1.5
"""Beyond this factor outside the calibrated horizons the loss curve is a guess, and no ratio is given."""
ASSUMED_ALPHA = 0.5
"""Mean of the exponent's prior between two horizons, which can't tell an exponent."""
EXPONENT_HORIZONS = 3
"""Horizons that it takes to tell an exponent, and so to leave the calibrated range."""

HELD = 1e-6
"""Standard deviation of a prior that holds its exponent."""


@dataclass(frozen=True)
class Prior:
    """A normal prior on the exponent."""

    mean: float
    sd: float = PRIOR_SD


@dataclass(frozen=True)
class Target:
    """The loss that is looked for [bpb].

    A threshold that is the baselines' median plus an offset moves with the seeds that calibrate, so the horizon to look
    for is the one whose loss lies `offset` above the loss at the baselines' own horizon: seed effects cancel in that.
    """

    threshold: float
    baseline_tokens: float | None = None
    """The baselines' horizon, one of the calibrated ones; None: the threshold is what it is, whatever the seeds."""
    offset: float = 0.0

    @property
    def from_baselines(self) -> bool:
        """The target is a loss above that of the baselines, not a fixed one."""
        return self.baseline_tokens is not None


@dataclass(frozen=True)
class Lane:
    """One lane's levels, curve and solution."""

    levels: Levels
    curve: LossCurve
    estimate: Estimator
    prior: Prior | None
    target: Target
    goal: float
    """The loss that the target comes to, for the mean of the calibrated seeds [bpb]."""
    tokens: float | None
    """None unless status is "ok"."""
    status: SolveStatus
    bracketed: bool
    extrapolation_factor: float | None
    extrapolation_limit: float

    @property
    def exponent_in_use(self) -> float:
        """The exponent that bends the answer."""
        inside = self.bracketed or self.tokens is None
        return self.estimate.bend if inside else self.curve.alpha

    @property
    def interval_measured(self) -> bool:
        """The finals measure what the interval rests on: the noise, and the seeds' spread unless that cancels."""
        return not self.levels.noise_assumed and (self.target.from_baselines or not self.levels.seeds_assumed)

    def gap(self, tokens: Floats) -> LossEstimate:
        """Estimated loss at `tokens` [g] less the target."""
        found = self.estimate(tokens)
        if self.target.baseline_tokens is None:
            return LossEstimate(found.loss - self.goal, found.weights, found.prior_weight)
        moved = found.less(self.estimate(np.array([self.target.baseline_tokens])))
        return LossEstimate(moved.loss - self.target.offset, moved.weights, moved.prior_weight)


def solve_lane(cells: Cells, target: Target, prior: Prior | None = None) -> Lane:
    """Levels, loss curve and the horizon at which the target is reached; see `infer_ratio`.

    Args:
        cells: the finals.
        target: the loss to reach.
        prior: of the exponent; None: the finals alone tell it, or, of two horizons, it is assumed.

    Raises:
        LossCurveError: fewer than 2 horizons, or losses that do not improve with tokens.
    """
    told = len(cells.horizons) >= EXPONENT_HORIZONS
    prior = prior if told or prior is not None else Prior(ASSUMED_ALPHA)
    curve = fit_cells(cells, None, prior)
    levels = estimate_levels(cells, curve)
    estimate = Estimator(levels, curve, None if prior is None else prior.sd)
    goal = target.threshold
    if target.baseline_tokens is not None:
        goal = float(estimate(np.array([target.baseline_tokens])).loss[0]) + target.offset
    bracketed = estimate.interpolation.brackets(goal)
    tokens: float | None
    status: SolveStatus
    if bracketed:
        tokens, status = estimate.interpolation.solve(goal), "ok"
    else:
        horizon = solve_horizon(curve, goal)
        tokens, status = horizon.tokens, horizon.status
    limit = EXTRAPOLATION_LIMIT if told else 1.0
    factor = None if tokens is None else max(1.0, tokens / estimate.last, estimate.first / tokens)
    if not bracketed and factor is not None and (not told or factor > limit):
        tokens, status = None, "extrapolation_beyond_limit"
    if tokens is not None and levels.noise_sd >= levels.spread:
        tokens, status = None, "noise_exceeds_spread"
    return Lane(levels, curve, estimate, prior, target, goal, tokens, status, bracketed, factor, limit)


def fit_cells(
    cells: Cells,
    alpha: float | None,
    prior: Prior | None = None,
    *,
    method: Method = "least_squares",
    asymptote_bounds: tuple[float, float] | None = None,
) -> LossCurve:
    """The loss curve of a lane's cells, with seed effects where they can be told; see `fit_loss_curve`."""
    columns = cells.effect_columns.shape[1]
    seeds = [cells.seeds[index] for index in cells.seed_index] if columns else None
    tokens, losses = cells.tokens, cells.losses
    if seeds is None and len(cells.horizons) < len(losses):
        losses = np.array([losses[cells.horizon_index == index].mean() for index in range(len(cells.horizons))])
        tokens = cells.horizons
    return fit_loss_curve(
        tokens, losses, alpha, seeds=seeds, alpha_prior=None if prior is None else (prior.mean, prior.sd),
        method=method, asymptote_bounds=asymptote_bounds,
    )  # fmt: skip
