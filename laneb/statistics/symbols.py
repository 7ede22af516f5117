"""Token ids as dense symbols: checked, renumbered by frequency, with their counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.integer[Any]]
FloatArray = NDArray[np.float64]

CHUNK = 1 << 22
"""Tokens handled at a time, so that a memory-mapped corpus is never copied whole into a wider type."""

TABLE_LIMIT = 1 << 24
"""Largest token id that is counted in a table; sparser ids are sorted instead."""


@dataclass(frozen=True)
class Symbols:
    """A token sequence whose symbols are numbered 0, 1, ... from the most frequent on.

    Attributes:
        ids: [N] symbol at each position, uint16 where that is wide enough, else uint32.
        counts: [S] int64, occurrences of each symbol; descending, each at least 1.
    """

    ids: IntArray
    counts: NDArray[np.int64]

    @property
    def size(self) -> int:
        """Number of tokens N."""
        return int(self.ids.size)

    @property
    def collision_probability(self) -> float:
        """Probability that two tokens drawn with replacement are equal: the sum of P(a)^2."""
        return float(np.dot(self.counts.astype(np.float64), self.counts)) / float(self.size) ** 2


def chunks(size: int) -> Iterator[slice]:
    """Slices that cover 0..size in steps of `CHUNK`."""
    for start in range(0, size, CHUNK):
        yield slice(start, min(size, start + CHUNK))


def as_symbols(tokens: ArrayLike) -> Symbols:
    """Check a token sequence and number its symbols by falling frequency.

    Args:
        tokens: one-dimensional, N >= 2 non-negative integers of any integer type.

    Raises:
        ValueError: another shape or type, fewer than two tokens, or a negative token.
    """
    array = np.asarray(tokens)
    if array.ndim != 1:
        raise ValueError(f"tokens: one dimension is needed, this array has {array.ndim}. Concatenate the documents.")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"tokens: integers are needed, these are {array.dtype}: no fractions, no NaN.")
    if array.size < 2:
        raise ValueError(f"tokens: at least 2 are needed, got {array.size}.")
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0:
        raise ValueError(f"tokens: {lowest} is negative; token ids start at 0. Mask or drop padding first.")
    return _by_table(array, highest) if highest <= TABLE_LIMIT else _by_sorting(array)


def _by_table(array: IntArray, highest: int) -> Symbols:
    counts = np.zeros(highest + 1, dtype=np.int64)
    for part in chunks(array.size):
        found = np.bincount(array[part].astype(np.intp))
        counts[: found.size] += found
    order = np.argsort(-counts, kind="stable")
    order = order[: np.count_nonzero(counts)]
    rank = np.zeros(highest + 1, dtype=_id_type(order.size))
    rank[order] = np.arange(order.size, dtype=rank.dtype)
    ids = np.empty(array.size, dtype=rank.dtype)
    for part in chunks(array.size):
        ids[part] = rank.take(array[part].astype(np.intp))
    return Symbols(ids, counts[order])


def _by_sorting(array: IntArray) -> Symbols:
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(order.size, dtype=_id_type(order.size))
    rank[order] = np.arange(order.size, dtype=rank.dtype)
    return Symbols(rank[inverse], counts[order].astype(np.int64))


def _id_type(symbols: int) -> type[np.uint16] | type[np.uint32]:
    return np.uint16 if symbols <= 1 << 16 else np.uint32


def works(module: str) -> bool:
    """Whether a module that only adds speed can be imported."""
    try:
        import_module(module)
    except Exception:  # a numba or a wheel that doesn't fit the installed numpy fails in several ways
        return False
    return True


def distances(name: str, values: ArrayLike, smallest: int, size: int) -> NDArray[np.int64]:
    """Check lags or context lengths: integers from `smallest` to one below the number of tokens, any order."""
    array = np.atleast_1d(np.asarray(values))
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name}: a sequence of integers is needed, got {array.dtype} of shape {array.shape}.")
    for value in (int(array.min()), int(array.max())):
        if not smallest <= value < size:
            raise ValueError(f"{name}: {value} is outside {smallest} to {size - 1}, what {size} tokens allow.")
    return array.astype(np.int64)
