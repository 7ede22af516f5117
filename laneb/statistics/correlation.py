"""How strongly tokens at a distance depend on each other: the norm of their lag covariance.

For lag n, C(n)[a, b] = P(a, b | n) - P(a) P(b), with P(a, b | n) counted over the N - n pairs and P(a) over all N
tokens. Its squared Frobenius norm needs no matrix:

    ||C||^2 = sum P(a,b)^2 - 2 sum P(a,b) P(a) P(b) + (sum P(a)^2)^2,

where the second sum is a mean over the pairs of P(t_i) P(t_{i+n}), and the first a count of coinciding pairs.
Source: Cagnetta et al. 2026, arXiv:2602.07488 (which uses the operator norm; the Frobenius norm tracks it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laneb.statistics.pairs import coinciding_pairs
from laneb.statistics.symbols import FloatArray, IntArray, Symbols, as_symbols, distances

FLOOR = 1e-12
"""Norms below this read as this, so that a logarithm of the curve exists."""


@dataclass(frozen=True)
class LagCovariance:
    """Squared norms of the lag covariance.

    Attributes:
        lags: [K] distances in tokens.
        pairs: [K] pairs counted at each lag.
        squared: [K] ||C(n)||_F^2; rounding can leave a value of about -1e-17.
        noise: [K] what independent tokens of the same frequencies would give on average: (1 - sum P(a)^2)^2 / pairs.
    """

    lags: NDArray[np.int64]
    pairs: NDArray[np.int64]
    squared: FloatArray
    noise: FloatArray

    @property
    def norms(self) -> FloatArray:
        """[K] ||C(n)||_F, at least `FLOOR`."""
        return np.maximum(np.sqrt(np.maximum(self.squared, 0.0)), FLOOR)

    @property
    def noise_floor(self) -> FloatArray:
        """[K] the norm that independent tokens would show."""
        return np.sqrt(self.noise)

    @property
    def corrected(self) -> FloatArray:
        """[K] the norm with the noise's mean taken off its square; `FLOOR` where nothing is left."""
        return np.maximum(np.sqrt(np.maximum(self.squared - self.noise, 0.0)), FLOOR)


def correlation_norms(tokens: ArrayLike, lags: ArrayLike) -> FloatArray:
    """Frobenius norms of the lag covariance of a token sequence.

    Args:
        tokens: [N] non-negative integers of any integer type, N >= 2.
        lags: [K] distances in tokens, 1 to N - 1, in any order.

    Returns:
        float64 [K], ||C(n)||_F at each lag (dimensionless, 0 to 1), at least 1e-12.

    Raises:
        ValueError: tokens that aren't a sequence of two or more non-negative integers, or a lag out of range.
    """
    symbols = as_symbols(tokens)
    return lag_covariance(symbols, distances("lags", lags, 1, symbols.size)).norms


def lag_covariance(symbols: Symbols, lags: NDArray[np.int64], document_starts: IntArray | None = None) -> LagCovariance:
    """Squared covariance norms at each lag, over all pairs or, given document starts, over pairs within a document.

    P(a) is counted over all tokens in both cases, so that the order of the documents does not matter to the latter.
    A lag at which no document holds a pair has 0 pairs and NaN norms.
    """
    size = symbols.size
    reach = _reach(size, document_starts, int(lags.max(initial=1)))
    coinciding = coinciding_pairs(symbols, lags, reach)
    probabilities = symbols.probabilities()
    collision = symbols.collision_probability
    crossing = np.flatnonzero(reach <= lags.max(initial=1)) if document_starts is not None else np.zeros(0, np.int64)
    pairs = np.empty(lags.size, dtype=np.int64)
    squared = np.empty(lags.size)
    for index, lag in enumerate(lags):
        product = float(np.dot(probabilities[: size - lag], probabilities[lag:]))
        outside = crossing[(reach[crossing] <= lag) & (crossing < size - lag)]
        product -= float(np.dot(probabilities[outside], probabilities[outside + lag]))
        count = size - int(lag) - outside.size
        pairs[index] = count
        squared[index] = float(coinciding[index]) / count**2 - 2.0 * product / count + collision**2 if count else np.nan
    with np.errstate(divide="ignore"):
        noise = np.where(pairs > 0, (1.0 - collision) ** 2 / pairs, np.nan)
    return LagCovariance(lags, pairs, squared, noise)


def _reach(size: int, document_starts: IntArray | None, largest_lag: int) -> NDArray[np.int32]:
    """[N] the first lag that leads out of the sequence, or of the position's document; capped above the largest lag."""
    ends = np.array([size]) if document_starts is None else np.append(document_starts[1:], size)
    reach = np.full(size, largest_lag + 1, dtype=np.int32)
    starts = np.zeros(1, np.int64) if document_starts is None else document_starts
    for start, end in zip(starts, ends, strict=True):
        first = max(int(start), int(end) - largest_lag)
        reach[first:end] = np.arange(int(end) - first, 0, -1)
    return reach
