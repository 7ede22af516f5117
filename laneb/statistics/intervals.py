"""Intervals of the decay exponents: a bootstrap over blocks of documents, to first order.

Documents are gathered into blocks of about equal size; blocks are drawn with replacement and the curve is refitted.
Counting a resampled corpus again would be wrong as well as slow: a document drawn twice makes each of its n-grams a
repeated one, so that the plug-in entropy falls, and doubles the sampling noise in the norm. So the curve of a draw is
taken from the measured one and the influence of each block, the derivative with respect to the block's weight:

    entropy:  (M_b / M) (mean over the block of -log2 P(next | context) - H),
    norm^2:   2 (M_b / M) (<C, P_b> - <C, P>) - 2 (N_b / N) <C p + C^T p, p_b - p>.

Source: Efron and Tibshirani 1993, chapter 22 (the infinitesimal jackknife and bootstrap of the influence function).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from laneb.statistics.correlation import LagCovariance
from laneb.statistics.grams import Repeated
from laneb.statistics.pairs import Pairs
from laneb.statistics.power_law import Problem, largest_offset
from laneb.statistics.symbols import FloatArray

BLOCKS = 32
FEWEST_BLOCKS = 8
"""With fewer blocks the spread between them says too little, and no interval is given."""

REPLICATES = 200
LEVEL = 0.95

MOST_FOLDS = 20.0
"""e-folds by which a resampled value may differ: a curve of rounding errors then stays finite."""

Interval = tuple[float, float]


def block_edges(starts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """[B + 1] where blocks begin: document starts nearest to even cuts, 0 first, N last."""
    ideal = np.arange(1, BLOCKS) * (size / BLOCKS)
    after = np.minimum(np.searchsorted(starts, ideal), starts.size - 1)
    before = np.maximum(after - 1, 0)
    nearest = np.where(starts[after] - ideal < ideal - starts[before], starts[after], starts[before])
    return np.unique(np.concatenate([[0], nearest, [size]]))


class BlockSurprise:
    """Sums over each block of log2 of how often the n-gram at a position occurs, at the lengths that are wanted.

    The sums at lengths L and L + 1 differ by the block's surprise, the sum of -log2 P(next | L tokens).
    """

    def __init__(self, edges: NDArray[np.int64], lengths: Collection[int]) -> None:
        self.edges = edges
        self.block = np.repeat(np.arange(edges.size - 1, dtype=np.uint8), np.diff(edges))
        self.wanted = {*lengths, *(length + 1 for length in lengths)}
        self.sums: dict[int, FloatArray] = {}

    def see(self, repeated: Repeated) -> None:
        """Take in the n-grams of one length."""
        if repeated.length in self.wanted:
            logs = np.repeat(np.log2(repeated.sizes), repeated.sizes)
            sums = np.bincount(self.block.take(repeated.positions, mode="clip"), logs, self.edges.size - 1)
            self.sums[repeated.length] = sums.astype(np.float64)

    def influence(self, lengths: Collection[int]) -> FloatArray:
        """[B, K] of each block on the entropy at each context length [bits]."""
        size = int(self.edges[-1])
        columns: list[FloatArray] = []
        for length in lengths:
            # The last positions have no next token: those of the last block, and at most one block's worth.
            here = np.diff(np.minimum(self.edges, size - length))
            surprise = self.sums.get(length, np.zeros(1)) - self.sums.get(length + 1, np.zeros(1))
            columns.append((surprise - here * (surprise.sum() / here.sum())) / here.sum())
        return np.stack(columns, axis=1) if columns else np.zeros((self.edges.size - 1, 0))


def correlation_influence(
    pairs: Pairs, covariance: LagCovariance, counts: NDArray[np.int64], edges: NDArray[np.int64]
) -> FloatArray:
    """[B, K] of each block on the squared norm at each lag, from the pair counts [K, B] by block."""
    symbols, lags = pairs.symbols, pairs.lags
    size, share = symbols.size, symbols.counts / symbols.size
    products = pairs.products_by_block(edges)
    ends = np.minimum(edges[None, :], size - lags[:, None])
    here = np.diff(ends, axis=1)
    inner = counts / covariance.pairs[:, None] - products
    total = inner.sum(axis=1) / covariance.pairs
    joint = (inner - here * total[:, None]) / covariance.pairs[:, None]

    pull = pairs.neighbour_sums() / covariance.pairs - 2.0 * symbols.collision_probability * share[:, None]
    frequencies = np.array([np.bincount(symbols.ids[a:b], minlength=share.size) for a, b in pairwise(edges.tolist())])
    single = (frequencies - np.diff(edges)[:, None] * share) @ pull / size
    return np.asarray(2.0 * joint.T - 2.0 * single)


def exponent_interval(
    x: FloatArray, values: FloatArray, influence: FloatArray, seed: int, shifted: bool = False
) -> Interval | None:
    """The central `LEVEL` of the exponents of resampled curves.

    Args:
        x: [K] abscissae.
        values: [K] the measured curve, not negative.
        influence: [B, K] of each block on it. It acts on the logarithm, so that no resampled value is negative, and
            is enlarged by sqrt(B / (B - 1)), as the spread of B blocks about their mean falls short by that.
        seed: of the draws.
        shifted: whether the law has an offset.

    Returns:
        Low and high end; None with fewer than `FEWEST_BLOCKS` blocks, or too few points for a fit.
    """
    blocks = influence.shape[0]
    if blocks < FEWEST_BLOCKS or x.size < 3 or not np.isfinite(values).all():
        return None
    draws = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1.0 / blocks), size=REPLICATES) - 1
    relative = influence / np.where(values > 0, values, np.inf)
    folds = np.clip(draws @ relative * math.sqrt(blocks / (blocks - 1)), -MOST_FOLDS, MOST_FOLDS)
    curves = values * np.exp(folds)
    fits = [Problem(x, curve, largest_offset(curve) if shifted else None).best_exponent() for curve in curves]
    low, high = np.quantile(fits, [(1.0 - LEVEL) / 2, (1.0 + LEVEL) / 2])
    return float(low), float(high)
