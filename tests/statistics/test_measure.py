"""The record behind stats.json."""

from __future__ import annotations

import json

import numpy as np
import pytest
from naive_statistics import markov_source

from laneb.knobs import StatisticsKnobs
from laneb.records.statistics import DatasetStats
from laneb.statistics import conditional_entropies, correlation_norms, measure_dataset, sample_documents

CONTRACT = """
timestamp_utc dataset_id tokenizer_id split num_docs_sampled num_tokens_sampled vocab_size
corr_fit_min_sep corr_fit_max_sep corr_curve corr_decay_exponent corr_decay_r2 corr_decay_r2_warn_threshold
corr_decay_r2_low_quality entropy_fit_min_ctx entropy_fit_max_ctx entropy_num_points_requested
entropy_num_points_used entropy_min_usable_points entropy_uniqueness_threshold entropy_skipped_data_starved
entropy_fit_adaptive_reductions entropy_curve entropy_decay_exponent entropy_decay_r2 entropy_decay_r2_warn_threshold
entropy_decay_r2_low_quality entropy_h_inf_bits token_unigram_collision_prob fit_optuna_seed fit_optuna_trials
"""


def measured(tokens, starts, **knobs) -> DatasetStats:
    settings = StatisticsKnobs(**{"corr_max_sep": 8, "ent_max_ctx": 8, "fit_optuna_trials": 5, **knobs})
    return measure_dataset(
        np.asarray(tokens), starts, knobs=settings, dataset_id="d", tokenizer_id="t", split="train", vocab_size=20
    )


@pytest.fixture(scope="module")
def stats() -> DatasetStats:
    tokens, _ = markov_source(5000, 20, seed=3)
    return measured(tokens, [0, 1200, 3100])


def test_the_file_holds_every_key_of_the_contract_and_reads_back(stats):
    written = json.loads(stats.to_json())
    assert set(CONTRACT.split()) <= set(written)
    assert written["corr_decay_r2_low_quality"] in ("yes", "no")
    assert {"separation", "frobenius_norm"} <= set(written["corr_curve"][0])
    assert set(written["entropy_curve"][0]) >= {
        "context_len", "conditional_entropy_bits", "unique_context_hashes", "entropy_gap_bits"
    }  # fmt: skip
    assert DatasetStats.from_json(stats.to_json()) == stats


def test_the_curves_are_the_public_functions_values(stats):
    tokens, _ = markov_source(5000, 20, seed=3)
    lags = [point.separation for point in stats.corr_curve]
    assert lags == list(range(1, 9))
    assert [point.frobenius_norm for point in stats.corr_curve] == correlation_norms(tokens, lags).tolist()
    lengths = [point.context_len for point in stats.entropy_curve]
    bits = [point.conditional_entropy_bits for point in stats.entropy_curve]
    assert bits == conditional_entropies(tokens, lengths).bits.tolist()


def test_a_sample_ends_at_the_document_and_token_limits():
    tokens, starts = np.arange(100), [0, 30, 60, 90]
    assert sample_documents(tokens, starts, -1, -1)[0].size == 100
    cut, kept = sample_documents(tokens, starts, 2, -1)
    assert (cut.size, kept.tolist()) == (60, [0, 30])
    cut, kept = sample_documents(tokens, starts, 3, 61)
    assert (cut.size, kept.tolist()) == (61, [0, 30, 60])
