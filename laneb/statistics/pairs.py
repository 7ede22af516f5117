"""Counting pairs of tokens at a distance: by compiled loops for long sequences, by sorting for short ones."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from laneb.statistics.symbols import FloatArray, Symbols, works

if TYPE_CHECKING:
    from laneb.statistics.compiled import Buckets

COMPILED_ABOVE = 1 << 22
"""Pairs from which loading the compiled loops (a second when they are not cached yet) costs less than sorting."""

DOT_CHUNK = 1 << 13
"""Positions whose products are summed at all lags while they are in the cache."""


class Pairs:
    """Pairs of tokens of one sequence at one set of lags.

    Args:
        symbols: the sequence, N tokens.
        lags: [K] distances.
        compiled: count by the compiled loops, or by sorting; by default, whichever is faster. Counts are equal.
    """

    def __init__(self, symbols: Symbols, lags: NDArray[np.int64], compiled: bool | None = None) -> None:
        if compiled is None:
            compiled = symbols.size * lags.size > COMPILED_ABOVE and works("laneb.statistics.compiled")
        self.symbols = symbols
        self.lags = lags
        self.compiled = compiled

    @cached_property
    def _buckets(self) -> Buckets:
        from laneb.statistics.compiled import Buckets

        return Buckets(self.symbols, threads())

    @cached_property
    def products(self) -> FloatArray:
        """[K] sum over the N - n pairs of P(t_i) P(t_{i+n})."""
        return self.products_by_block(np.array([0, self.symbols.size]))[:, 0]

    def products_by_block(self, edges: NDArray[np.int64]) -> FloatArray:
        """[K, B] sum over the pairs that begin in each block of P(t_i) P(t_{i+n})."""
        share = self.symbols.counts / self.symbols.size
        longest = int(self.lags.max(initial=0))
        total = np.zeros((self.lags.size, edges.size - 1))
        for block, (first, last) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
            for start in range(first, last, DOT_CHUNK):
                end = min(start + DOT_CHUNK, last)
                near = share[self.symbols.ids[start : end + longest]]
                for index, lag in enumerate(self.lags.tolist()):
                    many = min(end - start, near.size - lag)
                    if many > 0:
                        total[index, block] += near[:many] @ near[lag : lag + many]
        return total

    def counts(self, reach: NDArray[np.int32], edges: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each lag and block, the sum over the block's positions of how often their pair occurs in all blocks.

        Over all blocks together it is the sum over symbol pairs (a, b) of the squared count of a followed by b.

        Args:
            reach: [N] a pair that begins at a position counts only at lags below its reach.
            edges: [B + 1] where blocks begin, 0 first, N last.

        Returns:
            int64 [K, B].
        """
        if self.compiled:
            return self._buckets.pair_counts(self.lags, reach, edges)
        with ThreadPoolExecutor(threads()) as pool:
            rows = list(pool.map(lambda lag: self._count_sorted(lag, reach, edges), self.lags.tolist()))
        return np.array(rows, dtype=np.int64).reshape(self.lags.size, edges.size - 1)

    def _count_sorted(self, lag: int, reach: NDArray[np.int32], edges: NDArray[np.int64]) -> NDArray[np.int64]:
        ids, symbols = self.symbols.ids, self.symbols.counts.size
        narrow = np.uint32 if symbols <= 1 << 16 else np.uint64
        keys = ids[: ids.size - lag].astype(narrow)
        keys *= narrow(symbols)
        keys += ids[lag:]
        valid = np.flatnonzero(reach[: ids.size - lag] > lag)
        keys = keys[valid]
        if edges.size == 2:
            keys.sort()
            runs = np.diff(np.flatnonzero(keys[1:] != keys[:-1]), prepend=-1, append=keys.size - 1)
            return np.array([int(runs @ runs) if keys.size else 0])
        _, pair, occurs = np.unique(keys, return_inverse=True, return_counts=True)
        running = np.concatenate([[0], np.cumsum(occurs[pair])])
        return np.diff(running[np.searchsorted(valid, edges)])

    def neighbour_sums(self) -> FloatArray:
        """[S, K] sum of P over the tokens a lag after, and over those a lag before, each occurrence of a symbol."""
        share = self.symbols.counts / self.symbols.size
        if self.compiled:
            return self._buckets.neighbour_sums(self.lags, share)
        ids, many = self.symbols.ids, self.symbols.counts.size
        sums = np.empty((many, self.lags.size))
        for index, lag in enumerate(self.lags.tolist()):
            early, late = ids[: ids.size - lag], ids[lag:]
            sums[:, index] = np.bincount(early, share[late], many) + np.bincount(late, share[early], many)
        return sums


def threads() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
