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

    Counts in `seen` begin at `base`, which rises past them each time, so that the table is not
    cleared. A pair that leads too far counts as symbol S, one past the vocabulary, and as 0.
    """
    outside = seen.size - 1
    limit_of_seen = np.iinfo(seen.dtype).max
    base = np.int64(0)
    segment_end = np.empty(edges.size, dtype=np.int64)
    segment_block = np.empty(edges.size, dtype=np.int64)
    for token in range(first, last):
        low = bounds[token]
        many = bounds[token + 1] - low
        segments = 0
        block = 0
        for k in range(many):
            if positions[low + k] >= edges[block + 1]:
                if k > 0:
                    segment_end[segments] = k
                    segment_block[segments] = block
                    segments += 1
                while positions[low + k] >= edges[block + 1]:
                    block += 1
        segment_end[segments] = many
        segment_block[segments] = block
        segments += 1
        rows = min(max(buffer.size // many, 1), lags.size)
        direct = many > buffer.size
        for top in range(0, lags.size, rows):
            stop = min(top + rows, lags.size)
            if not direct:
                for k in range(many):
                    position = positions[low + k]
                    limit = reach[position]
                    for q in range(top, stop):
                        lag = lags[q]
                        buffer[(q - top) * many + k] = ids[position + lag] if lag < limit else outside
            for q in range(top, stop):
                lag = lags[q]
                row = (q - top) * many
                if base > limit_of_seen - many:
                    seen[:] = 0
                    base = 0
                earlier = 0
                for k in range(many):
                    if direct:
                        position = positions[low + k]
                        follower = np.int64(ids[position + lag]) if lag < reach[position] else outside
                    else:
                        follower = np.int64(buffer[row + k])
                    count = max(seen[follower] - base, 0)
                    earlier += count
                    seen[follower] = base + count + 1
                missing = max(seen[outside] - base, 0)
                if segments == 1:
                    # Of a pair that occurs n times, n (n - 1) / 2 were earlier ones.
                    out[q, segment_block[0]] += 2 * earlier + many - missing * missing
                else:
                    seen[outside] = base
                    for segment in range(segments):
                        total = 0
                        for k in range(0 if segment == 0 else segment_end[segment - 1], segment_end[segment]):
                            if direct:
                                position = positions[low + k]
                                total += seen[ids[position + lag] if lag < reach[position] else outside] - base
                            else:
                                total += seen[buffer[row + k]] - base
                        out[q, segment_block[segment]] += total
                base += many


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
            buffer = np.empty(min(BUFFER, int(symbols.counts[part[0]]) * lags.size), dtype=follower_type)
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
