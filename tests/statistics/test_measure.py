"""The record behind stats.json."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from naive_statistics import documents, joined, markov_source

from laneb.knobs import StatisticsKnobs
from laneb.records.statistics import DatasetStats
from laneb.statistics import (
    conditional_entropies,
    correlation_norms,
    measure_dataset,
    sample_documents,
)
from laneb.statistics.correlation import all_counts, all_pairs
from laneb.statistics.entropy import entropies
from laneb.statistics.intervals import BlockSurprise, block_edges, correlation_influence
from laneb.statistics.pairs import Pairs
from laneb.statistics.symbols import as_symbols
from laneb.statistics.window import context_grid

CONTRACT = """
timestamp_utc dataset_id tokenizer_id split num_docs_sampled num_tokens_sampled vocab_size
corr_fit_min_sep corr_fit_max_sep corr_curve corr_decay_exponent corr_decay_r2 corr_decay_r2_warn_threshold
corr_decay_r2_low_quality entropy_fit_min_ctx entropy_fit_max_ctx entropy_num_points_requested
entropy_num_points_used entropy_min_usable_points entropy_uniqueness_threshold entropy_skipped_data_starved
entropy_fit_adaptive_reductions entropy_curve entropy_decay_exponent entropy_decay_r2 entropy_decay_r2_warn_threshold
entropy_decay_r2_low_quality entropy_h_inf_bits token_unigram_collision_prob fit_optuna_seed fit_optuna_trials
"""
SIZES = [120] * 30


def measured(tokens, starts, **knobs) -> DatasetStats:
    settings = StatisticsKnobs(**{"corr_max_sep": 8, "ent_max_ctx": 8, "fit_optuna_trials": 5, **knobs})
    return measure_dataset(
        np.asarray(tokens), starts, knobs=settings, dataset_id="d", tokenizer_id="t", split="train", vocab_size=20
    )


@pytest.fixture(scope="module")
def stats() -> DatasetStats:
    tokens, _ = markov_source(5000, 20, seed=3)
    return measured(tokens, np.arange(0, 5000, 100), corr_operator_norm=True)


def test_the_file_holds_every_key_of_the_contract_and_reads_back(stats):
    written = json.loads(stats.to_json())
    assert set(CONTRACT.split()) <= set(written)
    assert written["corr_decay_r2_low_quality"] in ("yes", "no")
    assert {"separation", "frobenius_norm"} <= set(written["corr_curve"][0])
    assert set(written["entropy_curve"][0]) >= {
        "context_len", "conditional_entropy_bits", "unique_context_hashes", "entropy_gap_bits"
    }  # fmt: skip
    assert DatasetStats.from_json(stats.to_json()) == stats


def test_a_file_with_the_keys_of_the_contract_alone_reads_too(stats):
    written = json.loads(stats.to_json())
    first = {key: written[key] for key in CONTRACT.split()}
    first["corr_curve"] = [
        {key: point[key] for key in ("separation", "frobenius_norm")} for point in first["corr_curve"]
    ]
    assert DatasetStats.from_json(json.dumps(first)).corr_decay_exponent == stats.corr_decay_exponent


def test_the_curves_are_the_public_functions_values(stats):
    tokens, _ = markov_source(5000, 20, seed=3)
    lags = [point.separation for point in stats.corr_curve]
    assert lags == list(range(1, 9))
    norms = [point.frobenius_norm for point in stats.corr_curve]
    np.testing.assert_allclose(norms, correlation_norms(tokens, lags), rtol=1e-12)
    lengths = [point.context_len for point in stats.entropy_curve]
    bits = [point.conditional_entropy_bits for point in stats.entropy_curve]
    assert bits == conditional_entropies(tokens, lengths).bits.tolist()


def test_the_curves_gaps_are_the_entropy_above_the_fitted_end(stats):
    for point in stats.entropy_curve:
        assert point.entropy_gap_bits == pytest.approx(point.conditional_entropy_bits - stats.entropy_h_inf_bits)


def test_the_same_sample_gives_the_same_content(stats):
    tokens, _ = markov_source(5000, 20, seed=3)
    again = measured(tokens.astype(np.uint16), np.arange(0, 5000, 100), corr_operator_norm=True)
    assert again.content_hash() == stats.content_hash()


def test_intervals_hold_their_exponent_and_need_documents(stats):
    low, high = stats.corr_decay_exponent_interval
    assert low < stats.corr_decay_exponent < high
    low, high = stats.entropy_decay_exponent_interval
    assert low <= stats.entropy_decay_exponent <= high
    tokens, _ = markov_source(5000, 20, seed=3)
    single = measured(tokens, [0])
    assert single.corr_decay_exponent_interval is None
    assert single.entropy_decay_exponent_interval is None
    assert single.corr_decay_exponent == pytest.approx(stats.corr_decay_exponent)


def test_brackets_decide_which_context_lengths_are_usable(stats):
    tolerance = stats.entropy_bracket_tolerance
    for estimate in stats.entropy_estimates:
        assert estimate.plug_in_bits <= estimate.grassberger_bits
        narrow = estimate.held_out_bits - estimate.plug_in_bits <= tolerance * estimate.held_out_bits
        assert estimate.usable == narrow == (estimate.context_len in stats.entropy_usable_context_lens)
    assert stats.entropy_usable_context_lens == (1,)
    assert stats.entropy_usable_fit is None


def test_operator_norms_stand_at_log_spaced_lags_and_only_on_request(stats):
    asked = {point.separation for point in stats.corr_curve if point.operator_norm is not None}
    assert asked == set(context_grid(1, 8, 8))
    assert stats.corr_operator_fit is not None
    tokens, starts = joined(documents(SIZES, 5, seed=0))
    assert all(point.operator_norm is None for point in measured(tokens, starts).corr_curve)


def test_permuting_documents_leaves_the_within_document_fit():
    parts = documents(SIZES, 5, seed=1)
    order = np.random.default_rng(0).permutation(len(parts))
    first, second = measured(*joined(parts)), measured(*joined([parts[index] for index in order]))
    assert first.corr_within_document_fit.exponent == pytest.approx(second.corr_within_document_fit.exponent, abs=1e-9)


def test_documents_of_different_content_show_a_floor_that_shuffling_keeps():
    differing = measured(*joined(documents(SIZES, 5, seed=2)))
    alike, _ = markov_source(3600, 5, seed=2)
    assert differing.corr_document_floor == pytest.approx(differing.corr_curve[-1].within_document_norm, rel=0.3)
    assert measured(alike, np.arange(0, 3600, 120)).corr_document_floor < 0.3 * differing.corr_document_floor


def test_starved_lengths_are_skipped_and_the_window_halved_until_enough_remain():
    tokens = np.random.default_rng(0).integers(0, 30, 2000)
    share = dict(zip(range(1, 65), conditional_entropies(tokens, range(1, 65)).singleton_share.tolist(), strict=True))
    assert share[1] == 0.0 < share[2] < 0.5 < share[3]
    starved = measured(tokens, [0], ent_max_ctx=64, ent_uniqueness_threshold=0.5, ent_min_usable_points=3)
    assert (starved.entropy_fit_max_ctx, starved.entropy_fit_adaptive_reductions) == (4, 4)
    assert [point.context_len for point in starved.entropy_curve] == [1, 2]
    assert starved.entropy_skipped_data_starved == 2
    assert (starved.entropy_decay_exponent, starved.entropy_h_inf_bits) == (None, None)
    assert starved.entropy_decay_r2_low_quality
    assert len(starved.entropy_estimates) == 8


def test_windows_end_where_the_sample_does():
    short = measured([1, 2, 1, 3, 1], [0, 2])
    assert (short.corr_fit_max_sep, short.entropy_fit_max_ctx) == (4, 4)


@pytest.mark.parametrize("tokens", [[4, 4, 4], [4] * 500, [1, 2, 3], list(range(500)), [0, 1] * 250])
@pytest.mark.parametrize("many", [1, 3])
def test_degenerate_samples_give_a_record_of_finite_numbers(tokens, many):
    record = measured(tokens, np.arange(0, len(tokens), max(len(tokens) // many, 1)))
    assert "NaN" not in record.to_json()
    assert record.corr_decay_exponent is not None
    if len(set(tokens)) == 1:
        assert record.corr_decay_r2_low_quality
        assert {point.frobenius_norm for point in record.corr_curve} == {1e-12}
        assert {point.conditional_entropy_bits for point in record.entropy_curve} == {0.0}
        assert record.entropy_decay_r2_low_quality


def test_too_small_a_sample_says_what_is_needed():
    with pytest.raises(ValueError, match=r"has 2 tokens; the statistics need 3"):
        measured([1, 2], [0])


def test_a_sample_ends_at_the_document_and_token_limits():
    tokens, starts = np.arange(100), [0, 30, 60, 90]
    assert sample_documents(tokens, starts, -1, -1)[0].size == 100
    cut, kept = sample_documents(tokens, starts, 2, -1)
    assert (cut.size, kept.tolist()) == (60, [0, 30])
    cut, kept = sample_documents(tokens, starts, 3, 61)
    assert (cut.size, kept.tolist()) == (61, [0, 30, 60])
    cut, kept = sample_documents(tokens, starts, -1, 60)
    assert (cut.size, kept.tolist()) == (60, [0, 30])


@pytest.mark.parametrize("limits", [(0, 5), (5, 0), (-2, 5)])
def test_a_limit_that_samples_nothing_is_refused(limits):
    with pytest.raises(ValueError, match="samples nothing"):
        sample_documents(np.arange(10), [0], *limits)


def test_blocks_are_whole_documents():
    starts = np.cumsum([0, *np.random.default_rng(0).integers(1, 40, 400)])
    edges = block_edges(starts, int(starts[-1]) + 10)
    assert set(edges[:-1].tolist()) <= set(starts.tolist())
    assert (edges[0], edges[-1], edges.size) == (0, starts[-1] + 10, 33)
    assert block_edges(np.array([0]), 50).tolist() == [0, 50]


def test_the_influence_of_a_block_is_the_change_when_its_weight_grows():
    parts = documents([3000] * 4, 6, seed=8)
    base = parts * 25
    tokens, starts = joined(base)
    symbols, lags, edges = as_symbols(tokens), np.array([1, 5]), np.append(starts[:4], tokens.size)
    pairs, surprise = Pairs(symbols, lags, False), BlockSurprise(edges, [1])
    counts = all_counts(pairs, edges)
    covariance, bits = all_pairs(pairs, counts), entropies(symbols, np.array([1]), surprise).bits
    # One copy more of a block among a hundred blocks is a small weight; the last block here holds the other 97.
    grown = [joined([*base, parts[index]])[0] for index in range(3)]
    changes = np.array([all_pairs(Pairs(as_symbols(more), lags, False)).squared - covariance.squared for more in grown])
    predicted = correlation_influence(pairs, covariance, counts, edges)[:3]
    np.testing.assert_allclose(predicted, changes, atol=0.03 * np.abs(changes).max())
    changes = np.array([conditional_entropies(more, [1]).bits - bits for more in grown])
    np.testing.assert_allclose(surprise.influence([1])[:3], changes, atol=0.03 * np.abs(changes).max())


def test_importing_the_statistics_loads_nothing_heavy():
    code = "import sys, laneb.statistics; print({'numba', 'scipy', 'optuna', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
