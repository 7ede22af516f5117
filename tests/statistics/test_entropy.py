"""Conditional entropies of the next token, their corrections and their upper bound."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_statistics import documents, joined, markov_source, naive_entropy

from laneb.statistics import conditional_entropies, correlation_norms
from laneb.statistics.entropy import entropies
from laneb.statistics.grams import order_positions
from laneb.statistics.held_out import HeldOut, held_out_positions
from laneb.statistics.symbols import as_symbols

sequences = st.lists(st.integers(0, 3), min_size=2, max_size=60)


def held_out_bits(tokens, starts, vocab_size, lengths):
    """Held-out bound at each context length."""
    symbols, wanted = as_symbols(tokens), np.array(lengths)
    held_out = HeldOut(symbols, np.array(starts), vocab_size, int(wanted.max()))
    entropies(symbols, wanted, held_out)
    return held_out.bound(wanted)


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
        assert measured.samples_per_context[index] == pytest.approx((len(tokens) - length) / contexts)


@settings(max_examples=25, deadline=None)
@given(sequences, st.permutations(range(4)))
def test_renaming_the_tokens_changes_nothing(tokens, names):
    renamed, lengths = np.array(names)[np.array(tokens)], list(range(len(tokens)))
    first, second = conditional_entropies(np.array(tokens), lengths), conditional_entropies(renamed, lengths)
    np.testing.assert_array_equal(first.bits, second.bits)
    np.testing.assert_array_equal(first.grassberger_bits, second.grassberger_bits)


@settings(max_examples=40, deadline=None)
@given(sequences, st.integers(1, 60))
def test_both_orderings_put_equal_ngrams_together(tokens, depth):
    symbols = as_symbols(np.array(tokens))
    for suffix_array in (True, False):
        order = order_positions(symbols, depth, suffix_array)
        assert sorted(order.tolist()) == list(range(len(tokens)))
        for length in (1, depth):
            grams = [tuple(tokens[i : i + length]) for i in order.tolist() if i + length <= len(tokens)]
            changes = sum(a != b for a, b in pairwise(grams))
            assert changes == len(set(grams)) - 1 if grams else True


@pytest.mark.parametrize("symbols", [200, 60_000, 70_000])
def test_any_width_of_symbol_is_ordered_right(symbols):
    generator = np.random.default_rng(0)
    tokens = np.concatenate([np.arange(symbols), generator.integers(0, symbols, 20_000), np.arange(300), [3, 4]])
    measured = conditional_entropies(tokens, [1, 2])
    for index, length in enumerate((1, 2)):
        bits, contexts, share = naive_entropy(tokens.tolist(), length)
        assert measured.bits[index] == pytest.approx(bits, abs=1e-9)
        assert (measured.distinct_contexts[index], measured.singleton_share[index]) == (contexts, share)


def test_equal_tokens_are_certain():
    measured = conditional_entropies(np.zeros(5000, np.uint8), [0, 1, 64, 4999])
    assert measured.bits.tolist() == [0.0] * 4
    assert measured.distinct_contexts.tolist() == [1] * 4
    assert measured.singleton_share.tolist() == [0.0, 0.0, 0.0, 1.0]


def test_two_tokens_give_a_defined_result():
    measured = conditional_entropies(np.array([5, 9]), [0, 1])
    assert measured.bits.tolist() == [1.0, 0.0]
    assert np.isfinite(measured.grassberger_bits).all()


def test_more_context_never_raises_the_entropy_of_a_long_sequence():
    tokens, _ = markov_source(20_000, 8, seed=4)
    assert (np.diff(conditional_entropies(tokens, range(12)).bits) <= 1e-3).all()


def test_corrections_give_the_entropy_rate_back_where_the_plug_in_falls_short():
    tokens, rate = markov_source(30_000, 40, seed=0)
    measured = conditional_entropies(tokens, [1])
    assert measured.samples_per_context[0] == pytest.approx(750, abs=1)
    assert rate - measured.bits[0] > 0.03
    assert measured.miller_madow_bits[0] == pytest.approx(rate, abs=0.02)
    assert measured.grassberger_bits[0] == pytest.approx(rate, abs=0.02)


def test_with_few_samples_a_context_the_plug_in_is_far_low_and_grassberger_is_nearest():
    tokens, rate = markov_source(20_000, 30, seed=1)
    measured = conditional_entropies(tokens, [2])
    errors = [rate - bits[0] for bits in (measured.bits, measured.miller_madow_bits, measured.grassberger_bits)]
    assert errors[0] > 2 * abs(errors[2])
    assert errors[0] > errors[1] > abs(errors[2])


@pytest.mark.parametrize("seed", range(4))
def test_the_bracket_holds_the_entropy_rate_at_every_context_length(seed):
    tokens, rate = markov_source(40_000, 25, seed=seed)
    lengths = [1, 2, 3, 4, 8]
    upper = held_out_bits(tokens, np.arange(0, 40_000, 400), 25, lengths)
    lower = conditional_entropies(tokens, lengths).bits
    # A sample of this size has an entropy of its own, within some hundredths of its source's.
    assert (lower < rate + 0.02).all()
    assert (upper > rate - 0.02).all()
    assert upper[0] == pytest.approx(rate, abs=0.1)
    assert (np.diff(upper) <= 0).all()


def test_held_out_documents_are_not_learned_from():
    # Every document repeats one token of its own: nothing learned from the others helps, and each counts as unseen.
    parts = [np.full(50, token) for token in range(20)]
    tokens, starts = joined(parts)
    assert held_out_bits(tokens, starts, 20, [1])[0] > np.log2(20)


def test_one_document_in_five_is_held_out_and_of_few_documents_the_last_fifth():
    held = held_out_positions(np.arange(0, 100, 10), 100)
    assert np.flatnonzero(held).tolist() == [*range(40, 50), *range(90, 100)]
    assert np.flatnonzero(held_out_positions(np.array([0, 5]), 100)).tolist() == list(range(80, 100))


def test_the_held_out_bound_ignores_how_documents_of_one_side_are_ordered():
    parts = documents([30] * 10, symbols=5, seed=2)
    swapped = [parts[3], *parts[1:3], parts[0], *parts[4:]]
    # At order 0 no n-gram crosses from one document to the next.
    first, second = (held_out_bits(*joined(order), 5, [0]) for order in (parts, swapped))
    np.testing.assert_allclose(first, second, rtol=1e-12)


def test_a_context_length_is_refused_where_no_token_follows():
    with pytest.raises(ValueError, match="context_lengths: 3 is outside 0 to 2"):
        conditional_entropies(np.array([1, 2, 3]), [3])


def test_without_the_fast_libraries_the_numbers_are_the_same(monkeypatch):
    tokens = np.random.default_rng(0).integers(0, 400, 70_000)
    lags, lengths = list(range(1, 65)), [1, 2, 3]
    fast = correlation_norms(tokens, lags), conditional_entropies(tokens, lengths)
    for module in ("laneb.statistics.compiled", "pydivsufsort"):
        monkeypatch.setitem(sys.modules, module, None)
    plain = correlation_norms(tokens, lags), conditional_entropies(tokens, lengths)
    np.testing.assert_array_equal(fast[0], plain[0])
    np.testing.assert_array_equal(fast[1].bits, plain[1].bits)
    np.testing.assert_array_equal(fast[1].distinct_contexts, plain[1].distinct_contexts)
