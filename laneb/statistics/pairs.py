"""Counting equal pairs of tokens at a distance: compiled for long sequences, by sorting for short ones."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from laneb.statistics.symbols import IntArray, Symbols

COMPILED_ABOVE = 1 << 22
"""Pairs from which loading the compiled loop (a second when it is not cached yet) costs less than sorting."""


def coinciding_pairs(
    symbols: Symbols, lags: NDArray[np.int64], reach: NDArray[np.int32], compiled: bool | None = None
) -> NDArray[np.int64]:
    """Sum over symbol pairs (a, b) of the squared count of a followed, a lag later, by b.

    Args:
        symbols: the sequence, N tokens.
        lags: [K] distances.
        reach: [N] a pair that begins at a position counts only at lags below its reach.
        compiled: count by the compiled loop, or by sorting; by default, whichever is faster. Both are exact.

    Returns:
        int64 [K].
    """
    if compiled is None:
        compiled = symbols.size * lags.size > COMPILED_ABOVE and find_spec("numba") is not None
    if compiled:
        from laneb.statistics.compiled import count_compiled

        return count_compiled(symbols, lags, reach, threads())
    with ThreadPoolExecutor(threads()) as pool:
        return np.array(list(pool.map(lambda lag: _count_sorted(symbols, int(lag), reach), lags)), dtype=np.int64)


def threads() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _count_sorted(symbols: Symbols, lag: int, reach: NDArray[np.int32]) -> int:
    valid = reach[: symbols.size - lag] > lag
    narrow = np.uint32 if symbols.counts.size <= 1 << 16 else np.uint64
    keys: IntArray = symbols.ids[: symbols.size - lag].astype(narrow)
    keys *= narrow(symbols.counts.size)
    keys += symbols.ids[lag:]
    keys = np.sort(keys[valid])
    if keys.size == 0:
        return 0
    runs = np.diff(np.flatnonzero(keys[1:] != keys[:-1]), prepend=-1, append=keys.size - 1)
    return int(np.dot(runs, runs))
