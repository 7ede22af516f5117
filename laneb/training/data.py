"""Batches as a pure function of seed and step, so that a resumed run sees what it would have seen.

The training stream is cut into rows of T + 1 tokens that do not overlap. Each epoch cuts at another phase and takes
its rows in another order; both depend on the seed and the epoch alone, and nothing is held in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUNDS = 6


def _mix(value: int) -> int:
    """One output of splitmix64 (Steele, Lea, Flood 2014): 64 well-mixed bits of a 64-bit integer."""
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % 2**64
    return value ^ (value >> 31)


def permute(index: int, size: int, key: int) -> int:
    """Where a keyed permutation of range(size) sends an index.

    A Feistel network over the smallest even number of bits that holds `size`, walked until it lands inside
    (Black and Rogaway 2002). Unlike numpy's shuffles it needs no memory and is the same in every version.
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    low = 2**half - 1
    while True:
        left, right = index >> half, index & low
        for round_number in range(_ROUNDS):
            left, right = right, left ^ (_mix(key ^ (right << 8 | round_number)) & low)
        index = left << half | right
        if index < size:
            return index


class TrainingRows:
    """Rows of the training stream in the order of a seed.

    Args:
        tokens: the stream, integers [N].
        length: tokens that a row predicts, T.
        seed: the run's seed.

    Raises:
        ValueError: the stream is shorter than two rows.
    """

    def __init__(self, tokens: NDArray[np.unsignedinteger], length: int, seed: int) -> None:
        self._tokens, self._width, self._seed = tokens, length + 1, seed
        self.per_epoch = (len(tokens) - length) // self._width
        if self.per_epoch < 1:
            raise ValueError(
                f"the training shards hold {len(tokens):,} tokens, fewer than a row of {length} needs "
                f"({2 * length + 1:,}): add text (LANE_B_CORPUS) or lower LANE_B_MAX_SEQ_LEN"
            )

    def batch(self, first: int, count: int) -> NDArray[np.int64]:
        """Rows `first` to `first + count - 1` of the run: int64 [count, T + 1]."""
        rows = np.empty((count, self._width), dtype=np.int64)
        for place in range(count):
            epoch, index = divmod(first + place, self.per_epoch)
            key = _mix(_mix(self._seed) ^ epoch)
            start = _mix(key) % self._width + permute(index, self.per_epoch, key) * self._width
            rows[place] = self._tokens[start : start + self._width]
        return rows

    def epoch(self, first: int) -> int:
        """Epoch of a row, from 0."""
        return first // self.per_epoch


def validation_rows(tokens: NDArray[np.unsignedinteger], length: int, eval_tokens: int) -> NDArray[np.int64]:
    """First tokens of the rows that a run is evaluated on: about `eval_tokens` targets, one row at least.

    Spread evenly over the whole stream: its first rows would be one or two documents, and their luck. A row's last
    target is the next row's first input, so that no token is predicted twice.

    Raises:
        ValueError: the stream is shorter than one row.
    """
    available = (len(tokens) - 1) // length
    if available < 1:
        raise ValueError(
            f"the validation shards hold {len(tokens):,} tokens, fewer than a row of {length} needs: "
            "add text (LANE_B_CORPUS), raise LANE_B_VALIDATION_SHARE or lower LANE_B_MAX_SEQ_LEN"
        )
    rows = min(max(1, eval_tokens // length), available)
    return np.arange(rows, dtype=np.int64) * available // rows * length


def context_rows(
    document_starts: NDArray[np.int64], tokens: int, length: int, eval_tokens: int, batch_rows: int, seed: int
) -> tuple[NDArray[np.int64], int]:
    """First tokens of the rows on which a loss by context is measured, and how many rows the documents hold.

    Each row lies in one document, behind its BOS, so that place n of a row has n tokens of context, all of one text.
    Documents are cut into rows from a place that the seed draws: rows that all begin at BOS would confuse the length of
    context with the place in the document, whose first lines are unlike the rest. Every row is as long as the context,
    so that every length is measured on the same documents. Rows are spread evenly over all documents, others for each
    seed, so that an average over seeds rests on more text.

    Args:
        document_starts: [D] where the stream's documents begin, 0 first.
        tokens: length of the stream.
        length: tokens that a row predicts, T.
        eval_tokens: about how many targets in all.
        batch_rows: where there are more rows, their number is a multiple of this: compiled code then sees one shape.
        seed: the run's seed.

    Returns:
        int64 [R], rising, and the number of rows available; both 0 where no document has T + 2 tokens.
    """
    sizes = np.diff(document_starts, append=tokens)
    rows_of = np.maximum(sizes - 2, 0) // length
    before = np.concatenate([[0], np.cumsum(rows_of)])
    available = int(before[-1])
    rows = min(max(1, eval_tokens // length), available)
    rows -= rows % batch_rows if rows > batch_rows else 0
    if rows == 0:
        return np.zeros(0, dtype=np.int64), available
    key = _mix(seed)
    chosen = (np.arange(rows, dtype=np.int64) * available + _mix(key) % available) // rows
    documents = np.searchsorted(before, chosen, side="right") - 1
    slack = sizes[documents] - 2 - rows_of[documents] * length
    places = zip(documents.tolist(), slack.tolist(), strict=True)
    skipped = np.array([_mix(key ^ number) % (left_over + 1) for number, left_over in places], dtype=np.int64)
    first = document_starts[documents] + 1 + skipped + (chosen - before[documents]) * length
    return np.asarray(first, dtype=np.int64), available


def validation_batches(
    tokens: NDArray[np.unsignedinteger],
    length: int,
    starts: NDArray[np.int64],
    batch_rows: int,
    *,
    rank: int = 0,
    world: int = 1,
) -> Iterator[NDArray[np.int64]]:
    """Rows that begin at `starts`, int64 [<= batch_rows, T + 1], every `world`-th batch from the `rank`-th on."""
    for first in range(rank * batch_rows, len(starts), world * batch_rows):
        rows = starts[first : first + batch_rows, np.newaxis]
        yield tokens[rows + np.arange(length + 1)].astype(np.int64)
