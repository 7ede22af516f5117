import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from laneb.training.data import TrainingRows, context_rows, permute, validation_batches, validation_rows


@given(st.integers(1, 700), st.integers(0, 2**64 - 1))
def test_an_order_takes_every_row_once(size, key):
    assert sorted(permute(index, size, key) for index in range(size)) == list(range(size))


def test_the_order_is_the_same_everywhere_and_always():
    assert [permute(index, 10, 12345) for index in range(10)] == [7, 4, 9, 6, 3, 0, 1, 8, 2, 5]


@given(st.integers(9, 400), st.integers(1, 4), st.integers(0, 2**31 - 1))
def test_rows_of_an_epoch_do_not_overlap(size, length, seed):
    rows = TrainingRows(np.arange(size, dtype=np.uint16), length, seed)
    seen = rows.batch(0, rows.per_epoch).reshape(-1)
    assert len(set(seen.tolist())) == len(seen) == rows.per_epoch * (length + 1)
    assert size - len(seen) < 2 * (length + 1)


def test_a_batch_is_a_function_of_seed_and_place():
    tokens = np.arange(1000, dtype=np.uint16)
    whole, parts = TrainingRows(tokens, 4, 1), TrainingRows(tokens, 4, 1)
    assert np.array_equal(whole.batch(0, 500), np.concatenate([parts.batch(i, 25) for i in range(0, 500, 25)]))
    assert not np.array_equal(whole.batch(0, 5), TrainingRows(tokens, 4, 2).batch(0, 5))


def test_epochs_cut_and_order_the_text_anew():
    rows = TrainingRows(np.arange(1003, dtype=np.uint16), 9, 1)
    first, second = rows.batch(0, rows.per_epoch), rows.batch(rows.per_epoch, rows.per_epoch)
    assert set(first[:, 0] % 10) != set(second[:, 0] % 10)
    assert not np.array_equal(np.argsort(first[:, 0]), np.argsort(second[:, 0]))
    assert (rows.epoch(rows.per_epoch - 1), rows.epoch(rows.per_epoch)) == (0, 1)


def test_validation_rows_lie_all_over_the_stream_and_predict_no_token_twice():
    tokens = np.arange(1001, dtype=np.uint16)
    starts = validation_rows(tokens, 10, 200)
    assert len(starts) == 20 and starts[0] == 0 and starts[-1] == 950
    rows = np.concatenate(list(validation_batches(tokens, 10, starts, 3)))
    targets = rows[:, 1:].reshape(-1)
    assert len(targets) == len(set(targets.tolist())) == 200
    everything = validation_rows(tokens, 10, 10**9)
    assert np.array_equal(everything, np.arange(100) * 10)


def test_processes_share_the_validation_rows():
    tokens = np.arange(1001, dtype=np.uint16)
    starts = validation_rows(tokens, 10, 500)
    shares = [list(validation_batches(tokens, 10, starts, 4, rank=rank, world=3)) for rank in range(3)]
    together = np.concatenate([batch for share in shares for batch in share])[:, 0]
    assert sorted(together) == starts.tolist()


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(1, 12), st.integers(1, 400), st.integers(0, 99)
)
def test_rows_of_context_lie_in_the_text_of_one_document_and_predict_no_token_twice(sizes, length, eval_tokens, seed):
    starts = np.cumsum([0, *sizes[:-1]])
    rows, available = context_rows(starts, sum(sizes), length, eval_tokens, 4, seed)
    assert available == sum(max(size - 2, 0) // length for size in sizes)
    assert len(rows) <= min(max(1, eval_tokens // length), available) < len(rows) + 4
    document = np.repeat(np.arange(len(sizes)), sizes)
    for row in rows:
        assert row not in starts
        assert document[row] == document[row + length]
    targets = (rows[:, None] + np.arange(1, length + 1)).reshape(-1)
    assert len(set(targets.tolist())) == targets.size


def test_rows_of_context_lie_all_over_the_documents_and_are_others_for_another_seed():
    starts = np.arange(0, 10_000, 100)
    first, available = context_rows(starts, 10_000, 10, 500, 8, 41)
    assert (available, len(first)) == (900, 48)
    assert np.diff(first // 100, prepend=-1, append=100).max() <= 3
    second, _ = context_rows(starts, 10_000, 10, 500, 8, 42)
    assert not set(first.tolist()) & set(second.tolist())
    assert np.array_equal(first, context_rows(starts, 10_000, 10, 500, 8, 41)[0])


def test_documents_shorter_than_a_row_give_no_context():
    assert context_rows(np.arange(0, 100, 11), 100, 10, 500, 8, 1)[0].size == 0
    assert context_rows(np.arange(0, 120, 12), 120, 10, 500, 8, 1)[1] == 10


@pytest.mark.parametrize("size", [0, 5, 8])
def test_too_little_text_is_refused(size):
    tokens = np.zeros(size, dtype=np.uint16)
    with pytest.raises(ValueError, match="add text"):
        TrainingRows(tokens, 4, 1)
    with pytest.raises(ValueError, match="add text"):
        validation_rows(tokens[:4], 4, 100)
