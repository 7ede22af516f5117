"""What candidates would train at, by the method in use, with the interval that is its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from laneb.inference.horizon import SolveStatus, solve_horizon
from laneb.inference.interval import horizon_interval
from laneb.inference.lane import HELD
from laneb.inference.loss_curve import LossCurve
from laneb.inference.loss_estimate import Estimator, Floats, LossEstimate
from laneb.inference.ratio import RatioEstimate


@dataclass(frozen=True)
class Solution:
    """A horizon and how far it is sure."""

    method: Literal["finals", "fixed_alpha"]
    tokens: float | None
    """None unless status is "ok"."""
    status: SolveStatus
    interval: tuple[float, float]
    """In tokens; (0, inf) where nothing bounds it."""
    exponent: float
    """The one that bends it."""
    extrapolation_factor: float | None
    """How far outside the calibrated horizons it lies: 1 inside."""


def solution_of_finals(estimate: RatioEstimate) -> Solution:
    """The answer of `infer_ratio` on the finished runs."""
    low, high = estimate.ratio_interval
    return Solution(
        "finals",
        estimate.tokens,
        estimate.status,
        (low * estimate.n_scaling_params, high * estimate.n_scaling_params),
        estimate.exponent_in_use,
        estimate.extrapolation_factor,
    )


def solution_at_fixed_alpha(estimate: RatioEstimate, curve: LossCurve, confidence: float = 0.95) -> Solution:
    """The closed form on a curve whose exponent is held: D = (A / (threshold - L_inf)) ** (1 / alpha).

    Its interval inverts the same t test on that curve. What the held exponent may be off by is told by the finals and
    the prior together: their variance of it, and how far it lies from their mean.

    Args:
        estimate: the finals' answer, for their levels and the threshold.
        curve: fitted with its exponent held, to the median per horizon.
        confidence: of the interval.
    """
    levels, threshold = estimate.lane.levels, estimate.lane.target.threshold
    horizon = solve_horizon(curve, threshold)
    first, last = float(levels.cells.horizons[0]), float(levels.cells.horizons[-1])
    if horizon.tokens is None:
        return Solution("fixed_alpha", None, horizon.status, (0.0, math.inf), curve.alpha, None)
    factor = max(1.0, horizon.tokens / last, first / horizon.tokens)
    if not levels.spreads_measured:
        return Solution("fixed_alpha", horizon.tokens, "ok", (0.0, math.inf), curve.alpha, factor)
    held = Estimator(levels, curve, HELD)

    def gap(tokens: Floats) -> LossEstimate:
        found = held.on_curve(tokens)
        return LossEstimate(found.loss - threshold, found.weights, found.prior_weight)

    told = estimate.lane.estimate
    off = told.exponent_variance + (told.curve.alpha - curve.alpha) ** 2
    interval = horizon_interval(horizon.tokens, gap, levels, off, confidence)
    return Solution("fixed_alpha", horizon.tokens, "ok", interval, curve.alpha, factor)
