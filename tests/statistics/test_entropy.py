"""Conditional entropies of the next token."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_statistics import naive_entropy

from laneb.statistics import conditional_entropies

sequences = st.lists(st.integers(0, 3), min_size=2, max_size=60)


@settings(max_examples=60, deadline=None)
@given(sequences, st.data())
def test_entropies_agree_with_a_naive_count(tokens, data):
    lengths = data.draw(st.lists(st.integers(0, len(tokens) - 1), min_size=1, max_size=5))
    measured = conditional_entropies(np.array(tokens), lengths)
    for index, length in enumerate(lengths):
        bits, contexts, share = naive_entropy(tokens, length)
        assert measured.bits[index] == pytest.approx(bits, abs=1e-9)
        assert measured.distinct_contexts[index] == contexts
        assert measured.singleton_share[index] == pytest.approx(share, abs=1e-12)


def test_a_context_length_is_refused_where_no_token_follows():
    with pytest.raises(ValueError, match="context_lengths: 3 is outside 0 to 2"):
        conditional_entropies(np.array([1, 2, 3]), [3])
