"""All n-grams of a token sequence, length after length, from one ordering of its positions.

Once positions are ordered so that equal n-grams stand together (a suffix array), the n-grams of length d + 1 split the
groups of length d, and a position that stands alone stands alone at every greater length: it is dropped. So counting
all lengths up to 64 costs a few passes over the sequence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laneb.statistics.symbols import IntArray, Symbols, works


@dataclass(frozen=True)
class Multiplicities:
    """How often the distinct n-grams of one length occur.

    Attributes:
        occurrences: [M] int64, ascending: the numbers of occurrences that are found.
        ngrams: [M] int64: how many distinct n-grams occur that often.
    """

    occurrences: NDArray[np.int64]
    ngrams: NDArray[np.int64]

    @property
    def total(self) -> int:
        """Occurrences of all n-grams together."""
        return int(np.dot(self.occurrences, self.ngrams))

    @property
    def distinct(self) -> int:
        """Number of distinct n-grams."""
        return int(self.ngrams.sum())

    @property
    def singletons(self) -> int:
        """Number of n-grams that occur once."""
        return int(self.ngrams[self.occurrences == 1].sum())

    def without_one_of(self, occurrences: int) -> Multiplicities:
        """The multiplicities after one occurrence is taken from an n-gram that has this many."""
        change = dict(zip(self.occurrences.tolist(), self.ngrams.tolist(), strict=True))
        change[occurrences] -= 1
        if occurrences > 1:
            change[occurrences - 1] = change.get(occurrences - 1, 0) + 1
        kept = sorted((key, many) for key, many in change.items() if many)
        table = np.array(kept, dtype=np.int64).reshape(-1, 2)
        return Multiplicities(table[:, 0], table[:, 1])


@dataclass(frozen=True)
class Repeated:
    """The n-grams of one length that occur more than once, or did at the length before.

    Attributes:
        length: n, in tokens.
        positions: [R] where they begin, those of one n-gram side by side.
        starts: [G] index in `positions` at which each n-gram's begin.
        alone: positions left out because they stood alone already at a smaller length.
    """

    length: int
    positions: IntArray
    starts: NDArray[np.intp]
    alone: int

    @property
    def sizes(self) -> NDArray[np.intp]:
        """[G] occurrences of each n-gram."""
        return np.diff(self.starts, append=self.positions.size)


def repeated_ngrams(symbols: Symbols, longest: int) -> Iterator[Repeated]:
    """The repeated n-grams of each length 1..`longest`, ending early once every n-gram is unique.

    The sequence is padded with a symbol of its own: an n-gram that runs past the end is then unique. So at length n,
    n - 1 of those that stand alone are no n-grams of the sequence.
    """
    size = symbols.size
    longest = min(longest, size)
    padded = np.zeros(size + longest, dtype=_wider(symbols))
    padded[:size] = symbols.ids
    padded[size:] = symbols.counts.size
    positions = order_positions(symbols, longest)
    first = np.zeros(size, dtype=np.bool_)
    first[0] = True
    for length in range(1, longest + 1):
        # Clipping, which nothing here needs, spares `take` its check of every index; masks are slower than both.
        last_symbol = padded[length - 1 :].take(positions, mode="clip")
        first[1:] |= last_symbol[1:] != last_symbol[:-1]
        starts = np.flatnonzero(first)
        yield Repeated(length, positions, starts, size - positions.size)
        shared = np.logical_not(first)
        shared[:-1] |= shared[1:]
        kept = np.flatnonzero(shared)
        positions, first = positions.take(kept, mode="clip"), first.take(kept, mode="clip")
        if positions.size == 0:
            return


def multiplicities(repeated: Repeated) -> Multiplicities:
    """Multiplicities of all n-grams of one length, those that occur once with them."""
    sizes = repeated.sizes
    common = sizes[sizes < 1 << 12]
    counted = np.bincount(common, minlength=2)
    counted[1] += repeated.alone - (repeated.length - 1)
    small = np.flatnonzero(counted)
    large, many = np.unique(sizes[sizes >= 1 << 12], return_counts=True)
    return Multiplicities(
        np.concatenate([small, large]).astype(np.int64), np.concatenate([counted[small], many]).astype(np.int64)
    )


def all_unique(size: int, length: int) -> Multiplicities:
    """Multiplicities where each of the n-grams of a length occurs once."""
    return Multiplicities(np.ones(1, np.int64), np.array([size - length + 1], dtype=np.int64))


def order_positions(symbols: Symbols, depth: int, suffix_array: bool | None = None) -> IntArray:
    """Positions in an order in which those with the same next `depth` tokens stand together.

    By a suffix array (libdivsufsort) where it is installed, else by prefix doubling in numpy; n-grams are counted
    alike from either.
    """
    if suffix_array is None:
        suffix_array = works("pydivsufsort")
    return _order_by_suffixes(symbols) if suffix_array else _order_by_doubling(symbols, depth)


def _order_by_suffixes(symbols: Symbols) -> IntArray:
    """Suffix array of the ids written as big-endian bytes; the suffixes that begin at an id are those of the ids."""
    from pydivsufsort import divsufsort

    width = max(1, (int(symbols.counts.size - 1).bit_length() + 7) // 8)
    container = ">u1" if width == 1 else ">u2" if width == 2 else ">u4"
    text = symbols.ids.astype(container).view(np.uint8)
    if width == 3:
        text = np.ascontiguousarray(text.reshape(-1, 4)[:, 1:]).reshape(-1)
    suffixes: IntArray = divsufsort(text)
    if width == 1:
        return suffixes
    aligned = suffixes % 3 == 0 if width == 3 else suffixes & (width - 1) == 0
    return suffixes.take(np.flatnonzero(aligned), mode="clip") // width


def _order_by_doubling(symbols: Symbols, depth: int) -> IntArray:
    """Manber and Myers 1993: ranks of the next h tokens at i and at i + h give the ranks of the next 2h."""
    size = symbols.size
    rank = symbols.ids.astype(np.uint64) + 1
    covered = 1
    while True:
        order = np.argsort(rank, kind="stable")
        ranked = rank[order]
        new_rank = np.empty(size, dtype=np.uint64)
        new_rank[order] = np.cumsum(np.concatenate([[1], ranked[1:] != ranked[:-1]]), dtype=np.uint64)
        if covered >= depth or int(new_rank[order[-1]]) == size:
            return order
        follower = np.zeros(size, dtype=np.uint64)
        follower[: size - covered] = new_rank[covered:]
        rank = new_rank * np.uint64(size + 1) + follower
        covered *= 2


def _wider(symbols: Symbols) -> Any:
    """An id type with room for one more symbol."""
    return symbols.ids.dtype if symbols.counts.size <= np.iinfo(symbols.ids.dtype).max else np.int64
