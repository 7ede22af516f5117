"""Rows of whole documents: each begins at a BOS, and the longest document that still fits comes next.

nanochat's loader: documents wait in a buffer of 1,000; where none fits, the shortest is cut to fill the row and its
rest is dropped (a third of all tokens at a context of 2,048). Nothing is padded, and the seed has no say. Which
documents a row holds depends on all rows before it, so a resumed run lays them out again from the start: lengths alone
are enough for that.
"""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

WAITING = 1000
CHUNK = 128
"""Documents that join the buffer at a time; the last chunk of an epoch is what is left."""


class PackedRows:
    """The rows of a stream in order, a function of the stream and the row length alone.

    Args:
        tokens: the stream, integers [N].
        document_starts: [D] where its documents begin, 0 first.
        length: tokens that a row predicts, T.

    Raises:
        ValueError: the stream is shorter than one row.
    """

    def __init__(self, tokens: NDArray[np.unsignedinteger], document_starts: NDArray[np.int64], length: int) -> None:
        if len(tokens) <= length:
            raise ValueError(
                f"the shards hold {len(tokens):,} tokens, fewer than a row of {length} needs ({length + 1:,}): "
                "add text (LANE_B_CORPUS) or lower LANE_B_MAX_SEQ_LEN"
            )
        self._tokens, self._width = tokens, length + 1
        self._starts = document_starts
        self._sizes = np.diff(document_starts, append=len(tokens))
        self._rewind()

    def batch(self, first: int, count: int) -> NDArray[np.int64]:
        """Rows `first` to `first + count - 1` of the run: int64 [count, T + 1]."""
        if first < self._next:
            self._rewind()
        while self._next < first:
            self._advance()
        rows = np.empty((count, self._width), dtype=np.int64)
        for row in rows:
            place = 0
            for start, taken in self._advance():
                row[place : place + taken] = self._tokens[start : start + taken]
                place += taken
        return rows

    def epoch(self, first: int) -> int:
        """Epoch, from 0, of the documents that joined the buffer last before a row that was laid out already."""
        return max(0, bisect.bisect_right(self._epoch_begins, first) - 1)

    def _rewind(self) -> None:
        self._next = 0
        self._epoch_begins: list[int] = []
        self._layout = self._rows()

    def _advance(self) -> list[tuple[int, int]]:
        row = next(self._layout)
        self._next += 1
        return row

    def _rows(self) -> Iterator[list[tuple[int, int]]]:
        """Row by row, the first token and the number of tokens of each document in it."""
        chunks = self._chunks()
        # (length, -arrival, first token), sorted: of equally long documents the earliest comes last.
        waiting: list[tuple[int, int, int]] = []
        while True:
            row, left = [], self._width
            while left:
                while len(waiting) < WAITING:
                    waiting.extend(next(chunks))
                    waiting.sort()
                place = _last_of_length(waiting, left)
                if place < 0:
                    place = _last_of_length(waiting, waiting[0][0])
                size, _, start = waiting.pop(place)
                row.append((start, min(size, left)))
                left -= min(size, left)
            yield row

    def _chunks(self) -> Iterator[list[tuple[int, int, int]]]:
        arrival = 0
        while True:
            self._epoch_begins.append(self._next)
            for begin in range(0, len(self._starts), CHUNK):
                sizes, starts = (x[begin : begin + CHUNK].tolist() for x in (self._sizes, self._starts))
                yield [(size, -(arrival + i), start) for i, (size, start) in enumerate(zip(sizes, starts, strict=True))]
                arrival += len(sizes)


def _last_of_length(waiting: list[tuple[int, int, int]], most: int) -> int:
    """Place of the earliest of the longest documents of at most so many tokens; -1: all are longer."""
    return bisect.bisect_left(waiting, (most, 1, 0)) - 1


def packed_validation(
    tokens: NDArray[np.unsignedinteger],
    document_starts: NDArray[np.int64],
    length: int,
    *,
    eval_tokens: int,
    batch_rows: int,
) -> NDArray[np.unsignedinteger]:
    """The rows that a run is evaluated on, [R, T + 1] as the stream is stored.

    They are the first of the held-out text, whole batches of about `eval_tokens` targets: one batch at least, and no
    more of them than the stream has tokens for, which nanochat would read again.
    """
    batches = min(eval_tokens, len(tokens)) // (batch_rows * length)
    source = PackedRows(tokens, document_starts, length)
    rows = np.empty((max(1, batches) * batch_rows, length + 1), dtype=tokens.dtype)
    for first in range(0, len(rows), batch_rows):
        rows[first : first + batch_rows] = source.batch(first, batch_rows)
    return rows


def row_batches(
    rows: NDArray[np.unsignedinteger], batch_rows: int, *, rank: int = 0, world: int = 1
) -> Iterator[NDArray[np.int64]]:
    """Rows as int64 [<= batch_rows, T + 1], every `world`-th batch from the `rank`-th on."""
    for first in range(rank * batch_rows, len(rows), world * batch_rows):
        yield rows[first : first + batch_rows].astype(np.int64)
