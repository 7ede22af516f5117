"""The compiled loop that counts equal pairs. Imported only where numba is at hand and the sequence is long.

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

from laneb.statistics.symbols import Symbols

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
    first: int,
    last: int,
    seen: Any,
    buffer: Any,
    out: Any,
) -> None:
    """Add to out[q] the squared pair counts of the buckets first..last; `seen` is zero before and after.

    A pair that leads too far is counted as symbol S, one past the vocabulary, and taken off at the end.
    """
    outside = seen.size - 1
    for token in range(first, last):
        low = bounds[token]
        many = bounds[token + 1] - low
        rows = min(max(buffer.size // many, 1), lags.size)
        direct = many > buffer.size
        for block in range(0, lags.size, rows):
            stop = min(block + rows, lags.size)
            if not direct:
                for k in range(many):
                    position = positions[low + k]
                    limit = reach[position]
                    for q in range(block, stop):
                        lag = lags[q]
                        buffer[(q - block) * many + k] = ids[position + lag] if lag < limit else outside
            for q in range(block, stop):
                lag = lags[q]
                row = (q - block) * many
                doubles = 0
                if direct:
                    for k in range(many):
                        position = positions[low + k]
                        follower = ids[position + lag] if lag < reach[position] else outside
                        doubles += seen[follower]
                        seen[follower] += 1
                else:
                    for k in range(many):
                        follower = buffer[row + k]
                        doubles += seen[follower]
                        seen[follower] += 1
                missing = seen[outside]
                out[q] += 2 * doubles + many - missing * missing
                if direct or many * 4 > seen.size:
                    seen[:] = 0
                else:
                    for k in range(many):
                        seen[buffer[row + k]] = 0


def count_compiled(
    symbols: Symbols, lags: NDArray[np.int64], reach: NDArray[np.int32], threads: int
) -> NDArray[np.int64]:
    """Squared pair counts at each lag, the buckets shared out over threads. See `coinciding_pairs`."""
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum(symbols.counts)])
    index_type = np.int32 if symbols.size < 1 << 31 else np.int64
    positions = np.argsort(symbols.ids, kind="stable").astype(index_type)
    parts = 4 * threads if symbols.size > 1 << 16 else 1
    cuts = np.searchsorted(bounds, np.linspace(0, symbols.size, parts + 1))
    follower_type = symbols.ids.dtype if symbols.counts.size <= np.iinfo(symbols.ids.dtype).max else np.int64

    def count(part: int) -> NDArray[np.int64]:
        first, last = int(cuts[part]), int(cuts[part + 1])
        out = np.zeros(lags.size, dtype=np.int64)
        if first < last:
            largest = int(symbols.counts[first])
            buffer = np.empty(min(BUFFER, largest * lags.size), dtype=follower_type)
            seen = np.zeros(symbols.counts.size + 1, dtype=index_type)
            _count_buckets(symbols.ids, positions, bounds, lags, reach, first, last, seen, buffer, out)
        return out

    with ThreadPoolExecutor(threads) as pool:
        total: NDArray[np.int64] = np.sum(list(pool.map(count, range(parts))), axis=0, dtype=np.int64)
    return total
