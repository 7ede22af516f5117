"""Confidence: which horizons the finals do not rule out, and which exponents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from laneb.inference.levels import Cells, Levels
from laneb.inference.loss_estimate import LossEstimate
from laneb.statistics.projection import FREE, Projection

Floats = NDArray[np.float64]

REACH = 4.0
"""The interval is looked for up to this factor beyond the calibrated horizons; open where it goes on."""
GRID = 400
"""Horizons looked at; between two of them an end is looked for on `FINE` more."""
FINE = 40


def horizon_interval(
    tokens: float,
    gap: Callable[[Floats], LossEstimate],
    levels: Levels,
    prior_variance: float,
    confidence: float,
) -> tuple[float, float]:
    """The horizons at which "the gap to the target is zero" is not rejected by a t test (Fieller's idea).

    |gap(D)| <= t_{df(D)} * sd(gap(D)). With all seeds at all horizons each seed has a gap of its own, and the test is
    exact for three seeds, where a bootstrap of them is not. The gap is the loss less a fixed threshold, or less the
    loss at the baselines' own horizon and the offset: then the seeds' effects cancel in it.

    Args:
        tokens: the horizon at which the gap is zero; the interval contains it.
        gap: for horizons [g], the loss less the target, with its weights on the finals and on the exponent's prior.
        levels: variances of weighted sums of the finals.
        prior_variance: of the exponent's prior.
        confidence: such as 0.95.

    Returns:
        (low, high) in tokens; 0 or infinity where the data do not bound it within a factor of 4 beyond the horizons.
    """
    from scipy.special import stdtrit

    def excess(grid: Floats) -> Floats:
        found = gap(grid)
        variance, freedom = levels.variance(found.weights)
        of_prior = found.prior_weight**2 * prior_variance
        total = variance + of_prior
        # Satterthwaite 1946; the prior's variance is known.
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom = np.where(of_prior > 0, total**2 / (variance**2 / freedom), freedom)
        quantile = stdtrit(np.clip(freedom, 1.0, 1e9), 0.5 + confidence / 2)
        return np.asarray(np.abs(found.loss) - quantile * np.sqrt(total))

    low, high = float(levels.cells.horizons[0]) / REACH, float(levels.cells.horizons[-1]) * REACH
    grid = np.unique(np.concatenate([np.geomspace(min(low, tokens), max(high, tokens), GRID), [tokens]]))
    values = excess(grid)
    start = int(np.searchsorted(grid, tokens))
    values[start] = min(values[start], 0.0)
    ends = []
    for side in (-1, 1):
        index = _last_within(values, start, side)
        if not 0 <= index + side < len(grid):
            ends.append(0.0 if side < 0 else float("inf"))
            continue
        fine = np.geomspace(grid[index], grid[index + side], FINE)
        closer = excess(fine)
        closer[0], closer[-1] = values[index], values[index + side]
        ends.append(_crossing(fine, closer, _last_within(closer, 0, 1), 1))
    return ends[0], ends[1]


def _last_within(values: Floats, start: int, side: int) -> int:
    """The last index from `start` on, going by `side`, before a positive value or the end."""
    index = start
    while 0 <= index + side < len(values) and values[index + side] <= 0:
        index += side
    return index


def _crossing(grid: Floats, values: Floats, index: int, side: int) -> float:
    """Where a value <= 0 at `index` rises through 0 on its way to its neighbour, by a straight line in the logs."""
    here, there = values[index], values[index + side]
    share = -here / (there - here)
    return float(np.exp((1 - share) * np.log(grid[index]) + share * np.log(grid[index + side])))


def alpha_interval(cells: Cells, best: float, bounds: tuple[float, float], confidence: float) -> tuple[float, float]:
    """Exponents whose residual is not significantly larger than the best one's (F test on the profile).

    RSS(alpha) <= RSS(best) * (1 + F_{1, df} / df). Without a degree of freedom left every exponent is possible, and the
    interval is all of `bounds`.
    """
    from scipy.stats import f as fisher

    effects = cells.effect_columns
    freedom = len(cells.losses) - 3 - effects.shape[1]
    if freedom <= 0:
        return bounds
    grid = np.unique(np.concatenate([np.geomspace(*bounds, 240), [best]]))
    sums = Projection(cells.tokens, cells.losses, offset=FREE, columns=effects).residuals(grid)
    at = int(np.searchsorted(grid, best))
    excess = sums - sums[at] * (1 + float(fisher.ppf(confidence, 1, freedom)) / freedom)
    low, high = (_last_within(excess, at, side) for side in (-1, 1))
    return (
        bounds[0] if low == 0 else _crossing(grid, excess, low, -1),
        bounds[1] if high == len(grid) - 1 else _crossing(grid, excess, high, 1),
    )
