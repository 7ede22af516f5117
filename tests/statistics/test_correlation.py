"""The norm of the lag covariance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_statistics import documents, joined, naive_squared_norm, power_law_source

from laneb.statistics import correlation_norms, fit_power_law, operator_norms, within_document_covariance
from laneb.statistics.correlation import all_pairs, reach_of
from laneb.statistics.pairs import Pairs
from laneb.statistics.symbols import as_symbols

sequences = st.lists(st.integers(0, 6), min_size=2, max_size=60)


@settings(max_examples=60, deadline=None)
@given(sequences, st.data())
def test_norms_agree_with_a_naive_count(tokens, data):
    lags = data.draw(st.lists(st.integers(1, len(tokens) - 1), min_size=1, max_size=5))
    wanted = [naive_squared_norm(tokens, lag) for lag in lags]
    np.testing.assert_allclose(correlation_norms(np.array(tokens), lags) ** 2, wanted, atol=1e-12, rtol=0)


@settings(max_examples=25, deadline=None)
@given(sequences, st.permutations(range(7)))
def test_renaming_the_tokens_changes_nothing(tokens, names):
    renamed = np.array(names)[np.array(tokens)]
    lags = list(range(1, len(tokens)))
    np.testing.assert_allclose(correlation_norms(renamed, lags), correlation_norms(np.array(tokens), lags), atol=1e-12)


@pytest.mark.parametrize("symbols", [1, 40, 70_000])
def test_compiled_loops_and_sorting_count_alike(symbols):
    generator = np.random.default_rng(symbols)
    found = as_symbols(generator.integers(0, symbols, 3000).astype(np.uint32))
    lags = np.array([1, 2, 17, 2999])
    for starts in ([0], [0, 5, 6, 1000, 2990]):
        for edges in ([0, 3000], [0, 1, 700, 2995, 3000]):
            reach = reach_of(3000, np.array(starts), lags)
            compiled, sorted_ = (Pairs(found, lags, way).counts(reach, np.array(edges)) for way in (True, False))
            np.testing.assert_array_equal(compiled, sorted_)
    sums = [Pairs(found, lags, way).neighbour_sums() for way in (True, False)]
    np.testing.assert_allclose(*sums, rtol=1e-12)


def test_a_buffer_of_one_lag_at_a_time_counts_alike(monkeypatch):
    from laneb.statistics import compiled

    monkeypatch.setattr(compiled, "BUFFER", 50)
    found = as_symbols(np.random.default_rng(0).choice(5, 2000, p=[0.9, 0.04, 0.03, 0.02, 0.01]))
    lags = np.arange(1, 9)
    norms = [all_pairs(Pairs(found, lags, way)).norms for way in (True, False)]
    np.testing.assert_array_equal(*norms)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64])
def test_every_integer_type_gives_the_same_norms(dtype):
    tokens = np.random.default_rng(0).integers(0, 100, 500)
    np.testing.assert_array_equal(correlation_norms(tokens.astype(dtype), [1, 9]), correlation_norms(tokens, [1, 9]))


def test_ids_near_two_to_the_31_are_counted_like_small_ones():
    tokens = np.random.default_rng(1).integers(0, 50, 400)
    sparse = np.array(np.random.default_rng(2).integers(0, 2**31, 50))[tokens]
    np.testing.assert_allclose(correlation_norms(sparse, [1, 2, 3]), correlation_norms(tokens, [1, 2, 3]), rtol=1e-12)


def test_equal_tokens_have_no_covariance():
    assert correlation_norms(np.full(100, 7), [1, 50, 99]).tolist() == [1e-12] * 3


def test_no_lags_give_no_norms():
    assert correlation_norms(np.array([1, 2, 3]), []).shape == (0,)


def test_within_documents_only_their_own_pairs_count():
    parts = documents([40, 1, 3, 60], symbols=4, seed=5)
    tokens, starts = joined(parts)
    share = np.bincount(tokens, minlength=4) / tokens.size
    covariance = within_document_covariance(tokens, starts, [1, 2, 50])
    for index, lag in enumerate([1, 2, 50]):
        counts = np.zeros((4, 4))
        for part in parts:
            np.add.at(counts, (part[:-lag], part[lag:]), 1)
        assert covariance.pairs[index] == counts.sum()
        wanted = np.sum((counts / counts.sum() - np.outer(share, share)) ** 2)
        assert covariance.squared[index] == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_documents_does_not_matter_within_them(sizes, random):
    parts = documents(sizes, symbols=3, seed=sum(sizes))
    shuffled = random.sample(parts, len(parts))
    lags = list(range(1, min(5, sum(sizes) - 1) + 1))
    first, second = (within_document_covariance(*joined(order), lags) for order in (parts, shuffled))
    np.testing.assert_array_equal(first.pairs, second.pairs)
    np.testing.assert_allclose(first.squared, second.squared, atol=1e-12)


def test_a_single_document_is_the_whole_sequence():
    tokens = np.random.default_rng(3).integers(0, 9, 300)
    within = within_document_covariance(tokens, [0], [1, 2, 3])
    np.testing.assert_array_equal(within.norms, correlation_norms(tokens, [1, 2, 3]))


def test_a_lag_longer_than_every_document_has_no_norm():
    covariance = within_document_covariance(np.array([1, 2, 3, 4]), [0, 2], [1, 3])
    assert covariance.pairs.tolist() == [2, 0]
    assert np.isnan(covariance.norms[1])


def test_independent_tokens_show_the_noise_floor_and_nothing_above_it():
    found = as_symbols(np.random.default_rng(7).integers(0, 200, 100_000))
    covariance = all_pairs(Pairs(found, np.arange(1, 21)))
    assert np.mean(covariance.squared / covariance.noise) == pytest.approx(1.0, abs=0.01)
    assert np.mean(covariance.corrected) < 0.1 * np.mean(covariance.norms)
    assert not covariance.above_noise.any()


def test_a_power_law_source_gives_its_exponent_back_within_five_hundredths():
    lags = [1, 2, 3, 4, 6, 8, 11, 16]
    tokens = power_law_source(1 << 19, amplitude=0.2, exponent=0.8, seed=1)
    norms = correlation_norms(tokens, lags)
    np.testing.assert_allclose(norms, 0.2 * np.array(lags, float) ** -0.8, atol=0.005)
    fit = fit_power_law(lags, norms)
    assert fit.exponent == pytest.approx(0.8, abs=0.05)
    assert fit.amplitude == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize("symbols", [30, 400])
def test_operator_norms_are_the_largest_singular_values(symbols):
    tokens = np.repeat(np.random.default_rng(0).integers(0, symbols, 2000), 2)
    share = np.bincount(tokens, minlength=symbols) / tokens.size
    found = operator_norms(tokens, [1, 2])
    for lag, norm in zip([1, 2], found, strict=True):
        joint = np.zeros((symbols, symbols))
        np.add.at(joint, (tokens[:-lag], tokens[lag:]), 1.0 / (tokens.size - lag))
        assert norm == pytest.approx(np.linalg.norm(joint - np.outer(share, share), 2), rel=1e-6)
    assert (found <= correlation_norms(tokens, [1, 2]) + 1e-12).all()


@pytest.mark.parametrize(
    ("tokens", "lags", "message"),
    [
        ([1.0, float("nan"), 2.0], [1], "integers"),
        ([1.0, float("inf"), 2.0], [1], "integers"),
        ([True, False, True], [1], "integers"),
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


@pytest.mark.parametrize("starts", [[], [1, 2], [0, 2, 2], [0, 4], [0.0, 1.0]])
def test_document_starts_that_do_not_rise_from_zero_are_refused(starts):
    with pytest.raises(ValueError, match="document_starts"):
        within_document_covariance(np.array([1, 2, 3, 4]), starts, [1])


def test_reach_ends_at_each_document():
    reach = reach_of(7, np.array([0, 2, 5]), np.array([1, 3]))
    assert reach.tolist() == [2, 1, 3, 2, 1, 2, 1]
    assert all(a - b in (0, 1) or a == 1 for a, b in pairwise(reach.tolist()))
