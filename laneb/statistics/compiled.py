"""The compiled loops over pairs of tokens. Imported only where numba is at hand and the sequence is long.

Positions are put in buckets by their token once. Then, at each lag, the tokens that follow a bucket are counted in a
table of the vocabulary's size. Symbols are numbered by frequency, so that its busy part stays in the nearest cache.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from laneb.statistics.symbols import FloatArray, Symbols

BUFFER = 1 << 22
"""Followers gathered at a time: a position's next 64 tokens share a cache line or two, so they are read together."""

Function = TypeVar("Function", bound=Callable[..., object])


def _compile(function: Function) -> Function:
    try:
        return cast(Function, numba.njit(function, cache=True, nogil=True))
    except RuntimeError:  # numba found no folder that it can write its cache to
        return cast(Function, numba.njit(function, nogil=True))


@_compile
def _find_segments(positions: Any, edges: Any, ends: Any, blocks: Any) -> int:
    """Split a bucket's positions, which rise, by block: where each segment ends, and its block. Returns how many."""
    segments, block = 0, 0
    for k in range(positions.size):
        if positions[k] >= edges[block + 1]:
            if k > 0:
                ends[segments], blocks[segments] = k, block
                segments += 1
            while positions[k] >= edges[block + 1]:
                block += 1
    ends[segments], blocks[segments] = positions.size, block
    return segments + 1


@_compile
def _gather(ids: Any, positions: Any, lags: Any, reach: Any, outside: int, buffer: Any) -> None:
    """Put the tokens that follow each position, at each lag, into rows of the buffer."""
    many = positions.size
    for k in range(many):
        position = positions[k]
        limit = reach[position]
        for q in range(lags.size):
            lag = lags[q]
            buffer[q * many + k] = ids[position + lag] if lag < limit else outside


@_compile
def _count_row(followers: Any, ends: Any, blocks: Any, segments: int, seen: Any, out: Any) -> None:
    """Add to out[block], over the block's followers in a row, how often each occurs in it. `seen` is zero around it."""
    outside = seen.size - 1
    many = followers.size
    earlier = 0
    for k in range(many):
        follower = followers[k]
        earlier += seen[follower]
        seen[follower] += 1
    missing = np.int64(seen[outside])
    if segments == 1:
        # Of a token that occurs n times, n (n - 1) / 2 were earlier ones.
        out[blocks[0]] += 2 * earlier + many - missing * missing
    else:
        seen[outside] = 0
        first = 0
        for segment in range(segments):
            total = 0
            for k in range(first, ends[segment]):
                total += seen[followers[k]]
            out[blocks[segment]] += total
            first = ends[segment]
    if many * 4 > seen.size:
        seen[:] = 0
    else:
        for k in range(many):
            seen[followers[k]] = 0


@_compile
def _count_buckets(
    ids: Any,
    positions: Any,
    bounds: Any,
    lags: Any,
    reach: Any,
    edges: Any,
    first: int,
    last: int,
    seen: Any,
    buffer: Any,
    out: Any,
) -> None:
    """Add to out[q, block], over the block's positions in the buckets first..last, how often their pair occurs.

    A pair that leads too far counts as symbol S, one past the vocabulary, and as 0.
    """
    ends = np.empty(edges.size, dtype=np.int64)
    blocks = np.empty(edges.size, dtype=np.int64)
    for token in range(first, last):
        bucket = positions[bounds[token] : bounds[token + 1]]
        many = bucket.size
        segments = _find_segments(bucket, edges, ends, blocks)
        rows = buffer.size // many
        for top in range(0, lags.size, rows):
            some = lags[top : top + rows]
            _gather(ids, bucket, some, reach, seen.size - 1, buffer)
            for q in range(some.size):
                _count_row(buffer[q * many : (q + 1) * many], ends, blocks, segments, seen, out[top + q])


@_compile
def _sum_neighbours(
    ids: Any, positions: Any, bounds: Any, lags: Any, probabilities: Any, first: int, last: int, out: Any
) -> None:
    """Add to out[a, q] P of the tokens a lag after and a lag before each occurrence of a, for a in first..last."""
    size = ids.size
    for token in range(first, last):
        row = out[token]
        for k in range(bounds[token], bounds[token + 1]):
            position = positions[k]
            for q in range(lags.size):
                after = position + lags[q]
                before = position - lags[q]
                if after < size:
                    row[q] += probabilities[ids[after]]
                if before >= 0:
                    row[q] += probabilities[ids[before]]


class Buckets:
    """Positions by token, and the share-out of the tokens over threads."""

    def __init__(self, symbols: Symbols, threads: int) -> None:
        self.symbols = symbols
        self.threads = threads
        self.bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(symbols.counts)])
        self.index_type = np.int32 if symbols.size < 1 << 31 else np.int64
        self.positions = np.argsort(symbols.ids, kind="stable").astype(self.index_type)
        parts = 4 * threads if symbols.size > 1 << 16 else 1
        cuts = np.unique(np.searchsorted(self.bounds, np.linspace(0, symbols.size, parts + 1)))
        self.parts = list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))

    def pair_counts(
        self, lags: NDArray[np.int64], reach: NDArray[np.int32], edges: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """[K, B]: see `laneb.statistics.pairs.pair_counts`."""
        symbols = self.symbols
        follower_type = symbols.ids.dtype if symbols.counts.size <= np.iinfo(symbols.ids.dtype).max else np.int64

        def count(part: tuple[int, int]) -> NDArray[np.int64]:
            out = np.zeros((lags.size, edges.size - 1), dtype=np.int64)
            largest = int(symbols.counts[part[0]])
            buffer = np.empty(max(largest, min(BUFFER, largest * lags.size)), dtype=follower_type)
            seen = np.zeros(symbols.counts.size + 1, dtype=self.index_type)
            _count_buckets(symbols.ids, self.positions, self.bounds, lags, reach, edges, *part, seen, buffer, out)
            return out

        with ThreadPoolExecutor(self.threads) as pool:
            total: NDArray[np.int64] = np.sum(list(pool.map(count, self.parts)), axis=0, dtype=np.int64)
        return total

    def neighbour_sums(self, lags: NDArray[np.int64], probabilities: FloatArray) -> FloatArray:
        """[S, K]: see `laneb.statistics.pairs.neighbour_sums`."""
        out = np.zeros((self.symbols.counts.size, lags.size))

        def add(part: tuple[int, int]) -> None:
            _sum_neighbours(self.symbols.ids, self.positions, self.bounds, lags, probabilities, *part, out)

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(add, self.parts))
        return out
