"""What was measured of a corpus."""

from __future__ import annotations

from laneb.records.base import Record, YesNo


class CorrelationPoint(Record):
    """Norm of the lag covariance at one distance."""

    separation: int
    """Distance between the two tokens [tokens]."""
    frobenius_norm: float


class EntropyPoint(Record):
    """Plug-in entropy of the next token at one context length."""

    context_len: int
    conditional_entropy_bits: float
    unique_context_hashes: int
    """Distinct contexts, counted exactly."""
    entropy_gap_bits: float | None
    """The entropy above the fitted entropy at infinite context; None without a fit."""


class DatasetStats(Record):
    """stats.json: how a corpus's correlations and entropies decay. Entropies are bits per token."""

    timestamp_utc: str
    dataset_id: str
    tokenizer_id: str
    split: str
    num_docs_sampled: int
    num_tokens_sampled: int
    vocab_size: int

    corr_fit_min_sep: int
    corr_fit_max_sep: int
    corr_curve: tuple[CorrelationPoint, ...]
    corr_decay_exponent: float
    corr_decay_r2: float
    corr_decay_r2_warn_threshold: float
    corr_decay_r2_low_quality: YesNo

    entropy_fit_min_ctx: int
    entropy_fit_max_ctx: int
    """Top of the window that was used: lower than asked for after adaptive reductions."""
    entropy_num_points_requested: int
    entropy_num_points_used: int
    entropy_min_usable_points: int
    entropy_uniqueness_threshold: float
    entropy_skipped_data_starved: int
    """Context lengths of the window's grid that were skipped."""
    entropy_fit_adaptive_reductions: int
    entropy_curve: tuple[EntropyPoint, ...]
    entropy_decay_exponent: float | None
    entropy_decay_r2: float | None
    entropy_decay_r2_warn_threshold: float
    entropy_decay_r2_low_quality: YesNo
    entropy_h_inf_bits: float | None

    token_unigram_collision_prob: float
    fit_optuna_seed: int
    fit_optuna_trials: int
