"""Intervals: for the horizon by test inversion or a bootstrap over seeds, for the exponent by its profile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from laneb.inference.levels import Cells, Levels
from laneb.inference.loss_curve import LinearProblem

Floats = NDArray[np.float64]

BOOTSTRAP_SEEDS = 8
"""From so many seeds on they are resampled; with 3 the plain percentiles cover 70 % where 95 are meant."""
REACH = 4.0
"""The interval is looked for up to this factor beyond the calibrated horizons; open where it goes on."""


def inversion_interval(
    tokens: float,
    threshold: float,
    levels: Levels,
    estimate: Callable[[Floats], tuple[Floats, Floats]],
    confidence: float,
) -> tuple[float, float]:
    """The horizons at which the threshold is not rejected by a t test of the loss there (Fieller's idea).

    |estimate(D) - threshold| <= t_{df(D)} * sd(estimate(D)): with all seeds at all horizons and seed effects that
    outweigh the noise this is exact for three seeds, where a bootstrap of them is not.

    Args:
        tokens: the solved horizon, which the interval contains.
        threshold: loss to reach.
        levels: variances of weighted sums of the cells.
        estimate: for horizons [g], the estimated loss [g] and its weights on the cells [g, n].
        confidence: such as 0.95.

    Returns:
        (low, high) in tokens; 0 or infinity where the data do not bound it within a factor of 4 beyond the horizons.
    """
    from scipy.stats import t as student

    low, high = float(levels.cells.horizons[0]) / REACH, float(levels.cells.horizons[-1]) * REACH
    grid = np.unique(np.concatenate([np.geomspace(min(low, tokens), max(high, tokens), 4000), [tokens]]))
    loss, weights = estimate(grid)
    variance, freedom = levels.variance(weights)
    quantile = student.ppf(0.5 + confidence / 2, np.clip(freedom, 1.0, 1e9))
    excess = np.abs(loss - threshold) - quantile * np.sqrt(variance)
    at = int(np.searchsorted(grid, tokens))
    return _edge(grid, excess, at, -1), _edge(grid, excess, at, +1)


def _edge(grid: Floats, excess: Floats, start: int, step: int) -> float:
    """Where `excess` first turns positive going from `start`, by a straight line in log tokens."""
    index = start
    while 0 <= index + step < len(grid):
        following = index + step
        if excess[following] > 0:
            if excess[index] >= 0:
                return float(grid[index])
            share = -excess[index] / (excess[following] - excess[index])
            return float(np.exp(np.log(grid[index]) + share * (np.log(grid[following]) - np.log(grid[index]))))
        index = following
    return 0.0 if step < 0 else float("inf")


def bootstrap_interval(
    cells: Cells,
    solve: Callable[[Cells], float | None],
    confidence: float,
    *,
    draws: int,
    seed: int,
    expanded: bool = True,
) -> tuple[float, float]:
    """Percentile interval of the horizon over lanes whose seeds are drawn with replacement, whole seeds at a time.

    Percentiles are widened by sqrt(S / (S - 1)), by which a drawn lane's spread is short, and by Student's quantile
    over the normal one (the expanded percentile interval of Hesterberg 2015, arXiv:1411.5279): plain ones cover 90 %
    at 12 seeds. A lane without a solution counts as an infinite horizon.

    Args:
        cells: the finals.
        solve: horizon of a lane's cells [tokens], None if unsolved.
        confidence: such as 0.95.
        draws: lanes drawn.
        seed: of the draws.
        expanded: False gives the plain percentiles.
    """
    from scipy.stats import norm as normal
    from scipy.stats import t as student

    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(cells.seed_index == index) for index in range(len(cells.seeds))]
    answers = []
    for _ in range(draws):
        drawn = generator.integers(len(members), size=len(members))
        rows = np.concatenate([members[index] for index in drawn])
        # A seed drawn twice is two seeds, or its effect would be fitted once for both.
        names = np.concatenate([np.full(len(members[index]), position) for position, index in enumerate(drawn)])
        horizons, horizon_index = np.unique(cells.tokens[rows], return_inverse=True)
        lane = Cells(horizons, tuple(range(len(drawn))), horizon_index.astype(np.int64), names, cells.losses[rows])
        answer = solve(lane)
        answers.append(np.inf if answer is None else np.log(answer))
    tail = (1 - confidence) / 2
    if not expanded:
        low, high = np.exp(np.quantile(answers, [tail, 1 - tail], method="inverted_cdf"))
        return float(low), float(high)
    low, middle, high = np.quantile(answers, [tail, 0.5, 1 - tail], method="inverted_cdf")
    freedom = len(members) - 1
    widening = np.sqrt(len(members) / freedom) * student.ppf(1 - tail, freedom) / normal.ppf(1 - tail)
    with np.errstate(invalid="ignore", over="ignore"):
        return float(np.exp(middle + (low - middle) * widening)), float(np.exp(middle + (high - middle) * widening))


def alpha_interval(cells: Cells, best: float, bounds: tuple[float, float], confidence: float) -> tuple[float, float]:
    """Exponents whose residual is not significantly larger than the best one's (F test on the profile).

    RSS(alpha) <= RSS(best) * (1 + F_{1, df} / df). Without a degree of freedom left every exponent is possible, and the
    interval is all of `bounds`.
    """
    from scipy.stats import f as fisher

    effects = cells.effect_columns()
    freedom = len(cells.losses) - 3 - effects.shape[1]
    if freedom <= 0:
        return bounds
    grid = np.unique(np.concatenate([np.geomspace(*bounds, 240), [best]]))
    sums = LinearProblem(cells.tokens, cells.losses, effects, None).residual_sums(grid)
    at = int(np.searchsorted(grid, best))
    limit = sums[at] * (1 + float(fisher.ppf(confidence, 1, freedom)) / freedom)
    low, high = _edge(grid, sums - limit, at, -1), _edge(grid, sums - limit, at, +1)
    return (bounds[0] if low == 0.0 else low), (bounds[1] if np.isinf(high) else high)
