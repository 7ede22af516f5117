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

from laneb.statistics.pairs import Pairs
from laneb.statistics.sample import checked_starts
from laneb.statistics.symbols import FloatArray, IntArray, Symbols, as_symbols, distances

FLOOR = 1e-12
"""Norms below this read as this, so that a logarithm of the curve exists."""

DENSE_BELOW = 256
"""Symbols up to which the operator norm is taken of the dense matrix."""


@dataclass(frozen=True)
class LagCovariance:
    """Squared norms of the lag covariance.

    Attributes:
        lags: [K] distances in tokens.
        pairs: [K] pairs counted at each lag.
        squared: [K] ||C(n)||_F^2; rounding can leave about -1e-17, and it is NaN where there are no pairs.
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

    @property
    def above_noise(self) -> NDArray[np.bool_]:
        """[K] whether the signal is larger than the noise: the squared norm is more than twice the noise."""
        return np.asarray(self.squared > 2.0 * self.noise)


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
    return all_pairs(Pairs(symbols, distances("lags", lags, 1, symbols.size))).norms


def within_document_covariance(tokens: ArrayLike, document_starts: ArrayLike, lags: ArrayLike) -> LagCovariance:
    """The lag covariance over pairs that lie in one document.

    P(a) is counted over all tokens, so that the order of the documents does not matter. A lag that no document is
    long enough for has 0 pairs and a NaN norm.

    Args:
        tokens: [N] non-negative integers, document after document.
        document_starts: [D] where each document begins, 0 first.
        lags: [K] distances in tokens, 1 to N - 1.

    Raises:
        ValueError: see `correlation_norms`; or document starts that don't rise from 0.
    """
    symbols = as_symbols(tokens)
    starts = checked_starts(document_starts, symbols.size)
    return within_documents(Pairs(symbols, distances("lags", lags, 1, symbols.size)), starts)


def all_pairs(pairs: Pairs, counts: NDArray[np.int64] | None = None) -> LagCovariance:
    """The lag covariance over all N - n pairs of the sequence; [K, B] pair counts by block, if made already."""
    size = pairs.symbols.size
    counts = all_counts(pairs, np.array([0, size])) if counts is None else counts
    return _covariance(pairs, counts.sum(axis=1), size - pairs.lags, pairs.products)


def all_counts(pairs: Pairs, edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """[K, B] pair counts of the whole sequence by block (see `Pairs.counts`)."""
    return pairs.counts(reach_of(pairs.symbols.size, np.zeros(1, np.int64), pairs.lags), edges)


def within_documents(pairs: Pairs, starts: NDArray[np.int64]) -> LagCovariance:
    """See `within_document_covariance`."""
    size, lags = pairs.symbols.size, pairs.lags
    reach = reach_of(size, starts, lags)
    share, ids = pairs.symbols.counts / size, pairs.symbols.ids
    near_end = np.flatnonzero(reach <= lags.max(initial=0))
    their_reach = reach[near_end]
    many, products = size - lags, pairs.products.copy()
    for index, lag in enumerate(lags.tolist()):
        crossing = near_end[(their_reach <= lag) & (near_end < size - lag)]
        many[index] -= crossing.size
        products[index] -= float(share[ids[crossing]] @ share[ids[crossing + lag]])
    return _covariance(pairs, pairs.counts(reach, np.array([0, size])).sum(axis=1), many, products)


def _covariance(
    pairs: Pairs, coinciding: NDArray[np.int64], many: NDArray[np.int64], products: FloatArray
) -> LagCovariance:
    collision = pairs.symbols.collision_probability
    some = np.where(many > 0, many, np.nan)
    squared = coinciding / some**2 - 2.0 * products / some + collision**2
    return LagCovariance(pairs.lags, many, squared, (1.0 - collision) ** 2 / some)


def reach_of(size: int, starts: NDArray[np.int64], lags: NDArray[np.int64]) -> NDArray[np.int32]:
    """[N] the first lag that leads out of a position's document; capped one above the largest lag."""
    longest = int(lags.max(initial=0))
    reach = np.full(size, longest + 1, dtype=np.int32)
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), size], strict=True):
        first = max(start, end - longest)
        reach[first:end] = np.arange(end - first, 0, -1)
    return reach


def document_floor(tokens: IntArray, starts: NDArray[np.int64], seed: int) -> float:
    """The norm that is left at lag 1 when the tokens of each document are shuffled.

    It is what documents of different content show without any order in them, noise included: the level that the
    within-document norm tends to at large lags.
    """
    generator = np.random.default_rng(seed)
    ends = [*starts[1:].tolist(), tokens.size]
    shuffled = [generator.permutation(tokens[a:b]) for a, b in zip(starts.tolist(), ends, strict=True)]
    pairs = Pairs(as_symbols(np.concatenate(shuffled)), np.ones(1, np.int64))
    return float(within_documents(pairs, starts).norms[0])


def operator_norms(tokens: ArrayLike, lags: ArrayLike) -> FloatArray:
    """Largest singular value of the lag covariance, the norm that arXiv:2602.07488 uses.

    C is applied as the sparse pair counts less the rank-one product of the frequencies, so it is never formed.

    Args:
        tokens: [N] non-negative integers of any integer type, N >= 2.
        lags: [K] distances in tokens, 1 to N - 1, in any order.

    Returns:
        float64 [K], dimensionless, at most the Frobenius norm.

    Raises:
        ValueError: see `correlation_norms`.
    """
    symbols = as_symbols(tokens)
    return np.array([_operator_norm(symbols, lag) for lag in distances("lags", lags, 1, symbols.size).tolist()])


def _operator_norm(symbols: Symbols, lag: int) -> float:
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import LinearOperator, svds

    many, share = symbols.counts.size, symbols.counts / symbols.size
    early, late = symbols.ids[:-lag].astype(np.int64), symbols.ids[lag:].astype(np.int64)
    joint = csr_matrix((np.full(early.size, 1.0 / early.size), (early, late)), shape=(many, many))
    if many <= DENSE_BELOW:
        return float(np.linalg.norm(joint.toarray() - np.outer(share, share), 2))
    transposed = joint.T.tocsr()
    operator = LinearOperator(
        joint.shape,
        matvec=lambda vector: joint @ vector.ravel() - share * float(share @ vector.ravel()),
        rmatvec=lambda vector: transposed @ vector.ravel() - share * float(share @ vector.ravel()),
        dtype=np.float64,
    )
    return float(svds(operator, k=1, v0=np.ones(many) / np.sqrt(many), return_singular_vectors=False)[0])
