"""The norm of the lag covariance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_statistics import naive_squared_norm

from laneb.statistics import correlation_norms

sequences = st.lists(st.integers(0, 6), min_size=2, max_size=60)


@settings(max_examples=60, deadline=None)
@given(sequences, st.data())
def test_norms_agree_with_a_naive_count(tokens, data):
    lags = data.draw(st.lists(st.integers(1, len(tokens) - 1), min_size=1, max_size=5))
    wanted = [naive_squared_norm(tokens, lag) for lag in lags]
    np.testing.assert_allclose(correlation_norms(np.array(tokens), lags) ** 2, wanted, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64])
def test_every_integer_type_gives_the_same_norms(dtype):
    tokens = np.random.default_rng(0).integers(0, 100, 500)
    np.testing.assert_array_equal(correlation_norms(tokens.astype(dtype), [1, 9]), correlation_norms(tokens, [1, 9]))


def test_ids_near_two_to_the_31_are_counted_like_small_ones():
    tokens = np.random.default_rng(1).integers(0, 50, 400)
    sparse = np.array(np.random.default_rng(2).integers(0, 2**31, 50))[tokens]
    np.testing.assert_array_equal(correlation_norms(sparse, [1, 2, 3]), correlation_norms(tokens, [1, 2, 3]))


def test_equal_tokens_have_no_covariance():
    assert correlation_norms(np.full(100, 7), [1, 50, 99]).tolist() == [1e-12] * 3


@pytest.mark.parametrize(
    ("tokens", "lags", "message"),
    [
        ([1.0, float("nan"), 2.0], [1], "integers"),
        ([1, -1, 2], [1], "negative"),
        ([1], [1], "at least 2"),
        ([[1, 2], [3, 4]], [1], "one dimension"),
        ([1, 2, 3], [3], "outside 1 to 2"),
        ([1, 2, 3], [0], "outside 1 to 2"),
        ([1, 2, 3], [1.5], "sequence of integers"),
    ],
)
def test_unusable_input_is_refused_with_its_reason(tokens, lags, message):
    with pytest.raises(ValueError, match=message):
        correlation_norms(np.array(tokens), lags)
