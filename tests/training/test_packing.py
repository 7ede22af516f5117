"""Rows of whole documents, against nanochat's loader written plainly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneb.training.packing import PackedRows, packed_validation, row_batches


def plain_rows(documents: list[list[int]], length: int, count: int) -> list[list[int]]:
    """nanochat's best-fit packing, a list of documents at a time."""

    def chunks():
        while True:
            for first in range(0, len(documents), 128):
                yield documents[first : first + 128]

    source, buffer, rows = chunks(), [], []
    while len(rows) < count:
        row: list[int] = []
        while len(row) < length + 1:
            while len(buffer) < 1000:
                buffer.extend(next(source))
            left = length + 1 - len(row)
            best = -1
            for place, document in enumerate(buffer):
                if len(document) <= left and (best < 0 or len(document) > len(buffer[best])):
                    best = place
            if best >= 0:
                row += buffer.pop(best)
            else:
                shortest = min(range(len(buffer)), key=lambda place: len(buffer[place]))
                row += buffer.pop(shortest)[:left]
        rows.append(row)
    return rows


def made(sizes: list[int]) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """A stream in which every token is another one: its starts, and its documents."""
    starts = np.cumsum([0, *sizes[:-1]])
    stream = np.arange(sum(sizes), dtype=np.uint16)
    return stream, starts, [stream[start : start + size].tolist() for start, size in zip(starts, sizes, strict=True)]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=300), st.integers(4, 30))
def test_rows_hold_the_documents_that_nanochats_hold(sizes, length):
    sizes = [*sizes, length + 1]
    stream, starts, documents = made(sizes)
    assert PackedRows(stream, starts, length).batch(0, 40).tolist() == plain_rows(documents, length, 40)


def test_rows_go_on_over_chunks_and_epochs():
    sizes = np.random.default_rng(1).integers(1, 60, size=1500).tolist()
    stream, starts, documents = made(sizes)
    rows = PackedRows(stream, starts, 48)
    assert rows.batch(0, 1200).tolist() == plain_rows(documents, 48, 1200)
    assert rows.epoch(0) == 0
    epochs = [rows.epoch(place) for place in range(1200)]
    assert epochs == sorted(epochs) and epochs[-1] >= 1


def test_a_batch_is_a_function_of_its_place():
    stream, starts, _ = made([7, 30, 3, 12, 25] * 100)
    whole, parts = PackedRows(stream, starts, 16), PackedRows(stream, starts, 16)
    rows = whole.batch(0, 60)
    assert np.array_equal(parts.batch(40, 20), rows[40:])
    assert np.array_equal(parts.batch(10, 5), rows[10:15])
    assert np.array_equal(parts.batch(15, 5), rows[15:20])


def test_validation_takes_whole_batches_from_the_start_and_never_more_than_there_is():
    stream, starts, documents = made([9] * 200)
    rows = packed_validation(stream, starts, 16, eval_tokens=500, batch_rows=4)
    assert rows.tolist() == plain_rows(documents, 16, 28)
    assert len(packed_validation(stream, starts, 16, eval_tokens=3, batch_rows=4)) == 4
    assert len(packed_validation(stream, starts, 16, eval_tokens=10**9, batch_rows=4)) == 1800 // 64 * 4
    shares = [np.concatenate(list(row_batches(rows, 4, rank=rank, world=3))) for rank in range(3)]
    assert sorted(row[0] for share in shares for row in share.tolist()) == sorted(rows[:, 0].tolist())


def test_no_text_is_refused():
    with pytest.raises(ValueError, match="add text"):
        PackedRows(np.zeros(0, dtype=np.uint16), np.zeros(0, dtype=np.int64), 8)
