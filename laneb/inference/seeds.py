"""Effects of seeds: the one basis in which they sum to zero, and where a design can tell them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def sum_to_zero(count: int) -> Floats:
    """[count, count - 1] basis of effects that sum to zero: effects = basis @ shifts.

    >>> sum_to_zero(3).sum(axis=0).tolist()
    [0.0, 0.0]
    """
    return np.vstack([np.eye(count - 1), -np.ones(count - 1)])


def effect_columns(tokens: Floats, seeds: Sequence[int] | None) -> Floats:
    """Columns [n, n_seeds - 1] of the seed effects of points [n]; no column where horizons can't tell them.

    They can when seeds and horizons form one connected set (each seed shares a horizon with another, directly or
    through others); otherwise a level per horizon and one per seed have no unique solution.
    """
    names = sorted(set(seeds or ()))
    if seeds is None or len(names) < 2 or not _connected(tokens.tolist(), list(seeds)):
        return np.zeros((len(tokens), 0))
    return sum_to_zero(len(names))[[names.index(seed) for seed in seeds]]


def _connected(horizons: list[float], seeds: list[int]) -> bool:
    reached = {seeds[0]}
    while True:
        touched = {horizon for horizon, seed in zip(horizons, seeds, strict=True) if seed in reached}
        grown = {seed for horizon, seed in zip(horizons, seeds, strict=True) if horizon in touched}
        if grown == reached:
            return reached == set(seeds)
        reached = grown
