"""Prediction: how likely a new run reaches the threshold, and from which horizon on that is likely enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laneb.inference.interval import GRID, REACH
from laneb.inference.lane import Lane

Floats = NDArray[np.float64]

NODES = 64
"""Of the quadrature over a spread that few degrees of freedom tell; Gauss and Legendre's lie near the tails."""


@dataclass(frozen=True)
class Prediction:
    """The final loss of a run of a new seed, at horizons [g]."""

    loss: Floats
    """[g] expected, bpb."""
    variance: Floats
    """[g] of the new run about it: its seed's effect, its noise, and what is unsure of the expectation."""
    freedom: Floats
    """[g] degrees of freedom of Student's t."""


@dataclass(frozen=True)
class Reach:
    """The horizon from which on a new run reaches the threshold with a probability."""

    probability: float
    tokens: float | None
    """None where it lies outside the horizons that the finals speak of, or they do not measure how runs scatter."""
    interval: tuple[float, float]
    """Confidence interval of the horizon at which the true probability is that; (0, inf) where nothing bounds it."""


def predict(lane: Lane, tokens: Floats) -> Prediction:
    """The final loss of a run of a new seed that is finished at `tokens` [g]."""
    levels, found = lane.levels, lane.estimate(tokens)
    seed_part, noise_part = levels.parts(found.weights)
    known = found.prior_weight**2 * lane.estimate.prior_variance
    # A new run adds a seed's effect and its noise, once each; the effects' mean square holds a share of the noise.
    variance, freedom = levels.combined(seed_part + 1.0, noise_part + 1.0 - levels.seeds.noise_share, known)
    return Prediction(found.loss, variance, np.clip(freedom, 1.0, 1e9))


def reach_probability(lane: Lane, tokens: Floats) -> Floats:
    """How likely a run of a new seed, finished at `tokens` [g], ends at or below the threshold.

    A predictive probability: right on average over lanes, with the little that a lane knows of its spreads taken in.
    """
    from scipy.special import stdtr

    new = predict(lane, tokens)
    margin = (lane.target.threshold - new.loss) / _positive(np.sqrt(new.variance))
    return np.asarray(stdtr(new.freedom, margin))


def reach_horizon(lane: Lane, probability: float, confidence: float) -> Reach:
    """The horizon from which on a new run reaches the threshold with `probability`.

    Args:
        lane: the finals' fit.
        probability: such as 0.9.
        confidence: of the interval.

    Returns:
        `tokens` within the limits of extrapolation, and the confidence interval of the true one: the loss at it lies
        z sd(run) below the threshold, so the studentized margin follows a noncentral t, which is inverted.
    """
    estimate = lane.estimate
    if not lane.levels.spreads_measured:
        return Reach(probability, None, (0.0, math.inf))
    low, high = estimate.first / lane.extrapolation_limit, estimate.last * lane.extrapolation_limit
    tokens = _first_at(lambda grid: reach_probability(lane, grid), probability, low, high)
    if not low < tokens < high:
        return Reach(probability, None, (0.0, math.inf))
    tail = (1 - confidence) / 2
    low, high = estimate.first / REACH, estimate.last * REACH

    def distribution(grid: Floats) -> Floats:
        return _margin_distribution(lane, grid, probability)

    return Reach(
        probability, tokens, (_first_at(distribution, tail, low, high), _first_at(distribution, 1 - tail, low, high))
    )


def _margin_distribution(lane: Lane, tokens: Floats, probability: float) -> Floats:
    """[g] P(studentized margin <= the one seen), if the true probability of reaching at `tokens` were `probability`.

    The margin over the run's sd is (z + lambda N(0, 1)) / u with u^2 = chi^2 / df: lambda is how much less sure the
    expectation is than the run. That is the noncentral t, here as an integral over the quantiles of u.
    """
    from scipy.special import gammaincinv, ndtr, ndtri

    levels, found = lane.levels, lane.estimate(tokens)
    one = np.ones(1)
    run_variance, freedom = levels.combined(one, one - levels.seeds.noise_share)
    seed_part, noise_part = levels.parts(found.weights)
    mean_variance, _ = levels.combined(seed_part, noise_part, found.prior_weight**2 * lane.estimate.prior_variance)
    run_sd = float(_positive(np.sqrt(run_variance))[0])
    margin = (lane.target.threshold - found.loss) / run_sd
    less_sure = _positive(np.sqrt(mean_variance)) / run_sd
    # Where seeds came out too much alike the noise seems to rule, and Satterthwaite's degrees of freedom are too many.
    few = min(float(freedom[0]), levels.seeds.freedom) if levels.effects_told else float(freedom[0])
    half = float(np.clip(few, 1.0, 1e6)) / 2
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    u = np.sqrt(gammaincinv(half, (nodes + 1) / 2) / half)
    inside = (margin[:, None] * u[None, :] - float(ndtri(probability))) / less_sure[:, None]
    return np.asarray(ndtr(inside) @ weights / 2)


def _first_at(rising: Callable[[Floats], Floats], level: float, low: float, high: float) -> float:
    """Where a function that rises with tokens first is at `level`; 0 or infinity where it is not between the ends."""
    for refined in range(2):
        grid = np.geomspace(low, high, GRID if refined == 0 else 40)
        values = rising(grid)
        above = np.flatnonzero(values >= level)
        if not len(above):
            return math.inf
        if above[0] == 0:
            return 0.0 if refined == 0 else low
        low, high = float(grid[above[0] - 1]), float(grid[above[0]])
    before, after = values[above[0] - 1], values[above[0]]
    share = (level - before) / (after - before)
    return float(low * (high / low) ** share)


def _positive(values: Floats) -> Floats:
    """At least the smallest number that can be divided by: exact lanes have no spread."""
    return np.maximum(values, 1e-300)
