"""The statistics of a corpus, measured and fitted: the record behind stats.json."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laneb.knobs import StatisticsKnobs
from laneb.records.base import utc_now
from laneb.records.statistics import CorrelationPoint, DatasetStats, EntropyPoint
from laneb.statistics.correlation import lag_covariance
from laneb.statistics.entropy import ConditionalEntropies, entropies
from laneb.statistics.power_law import ShiftedPowerLawFit, fit_power_law, fit_shifted_power_law
from laneb.statistics.sample import checked_starts
from laneb.statistics.symbols import IntArray, as_symbols


@dataclass(frozen=True)
class EntropyWindow:
    """The context lengths that the entropy fit uses.

    Attributes:
        top: the longest context length of the window, after `reductions` halvings.
        lengths: those of the window's grid that are well enough sampled.
        skipped: how many of the grid are not.
    """

    top: int
    lengths: tuple[int, ...]
    skipped: int
    reductions: int


def measure_dataset(
    tokens: IntArray,
    document_starts: ArrayLike,
    *,
    knobs: StatisticsKnobs,
    dataset_id: str,
    tokenizer_id: str,
    split: str,
    vocab_size: int,
) -> DatasetStats:
    """Measure correlation and entropy decay of a sample of documents.

    Args:
        tokens: [N] the sample (see `sample_documents`); documents begin with BOS.
        document_starts: [D] where each document begins, 0 first.
        knobs: windows, thresholds and fit settings. Windows reach at most N - 1 tokens.
        dataset_id, tokenizer_id, split, vocab_size: recorded.

    Raises:
        ValueError: too few tokens for the smallest lag and the shortest context, or input that is no token sequence.
    """
    symbols = as_symbols(tokens)
    starts = checked_starts(document_starts, symbols.size)
    needed = max(knobs.corr_min_sep + 2, knobs.ent_min_ctx + 1)
    if symbols.size < needed:
        raise ValueError(f"the sample has {symbols.size} tokens; the statistics need {needed}. Sample more documents.")
    lags = np.arange(knobs.corr_min_sep, min(knobs.corr_max_sep, symbols.size - 1) + 1, dtype=np.int64)
    covariance = lag_covariance(symbols, lags)
    correlation_fit = fit_power_law(lags, covariance.norms)

    lengths = np.arange(knobs.ent_min_ctx, min(knobs.ent_max_ctx, symbols.size - 1) + 1, dtype=np.int64)
    measured = entropies(symbols, lengths)
    window = entropy_window(measured, knobs)
    entropy_fit = _fit_entropy(measured, window, knobs)
    return DatasetStats(
        timestamp_utc=utc_now(),
        dataset_id=dataset_id,
        tokenizer_id=tokenizer_id,
        split=split,
        num_docs_sampled=int(starts.size),
        num_tokens_sampled=symbols.size,
        vocab_size=vocab_size,
        corr_fit_min_sep=int(lags[0]),
        corr_fit_max_sep=int(lags[-1]),
        corr_curve=tuple(
            CorrelationPoint(separation=lag, frobenius_norm=norm)
            for lag, norm in zip(lags.tolist(), covariance.norms.tolist(), strict=True)
        ),
        corr_decay_exponent=correlation_fit.exponent,
        corr_decay_r2=correlation_fit.r2,
        corr_decay_r2_warn_threshold=knobs.corr_r2_warn_threshold,
        corr_decay_r2_low_quality=correlation_fit.r2 < knobs.corr_r2_warn_threshold,
        entropy_fit_min_ctx=knobs.ent_min_ctx,
        entropy_fit_max_ctx=window.top,
        entropy_num_points_requested=knobs.ent_num_points,
        entropy_num_points_used=len(window.lengths),
        entropy_min_usable_points=knobs.ent_min_usable_points,
        entropy_uniqueness_threshold=knobs.ent_uniqueness_threshold,
        entropy_skipped_data_starved=window.skipped,
        entropy_fit_adaptive_reductions=window.reductions,
        entropy_curve=_entropy_curve(measured, window, entropy_fit),
        entropy_decay_exponent=entropy_fit.exponent if entropy_fit else None,
        entropy_decay_r2=entropy_fit.r2 if entropy_fit else None,
        entropy_decay_r2_warn_threshold=knobs.entropy_r2_warn_threshold,
        entropy_decay_r2_low_quality=entropy_fit is None or entropy_fit.r2 < knobs.entropy_r2_warn_threshold,
        entropy_h_inf_bits=entropy_fit.offset if entropy_fit else None,
        token_unigram_collision_prob=symbols.collision_probability,
        fit_optuna_seed=knobs.fit_optuna_seed,
        fit_optuna_trials=knobs.fit_optuna_trials,
    )


def context_grid(shortest: int, longest: int, points: int) -> tuple[int, ...]:
    """Context lengths spaced evenly in their logarithm: rounded, each once, both ends included."""
    return tuple(sorted({round(value) for value in np.geomspace(shortest, longest, points).tolist()}))


def entropy_window(measured: ConditionalEntropies, knobs: StatisticsKnobs) -> EntropyWindow:
    """Choose the context lengths to fit: the grid's, less those where nearly every context occurs once.

    While too few remain, the window's top is halved and the grid rebuilt; it stops where the halved window has no
    longer enough lengths, and then keeps what it has.
    """
    share = dict(zip(measured.context_lengths.tolist(), measured.singleton_share.tolist(), strict=True))
    top, reductions = max(share), 0
    while True:
        grid = context_grid(knobs.ent_min_ctx, top, knobs.ent_num_points)
        usable = tuple(length for length in grid if share[length] <= knobs.ent_uniqueness_threshold)
        smaller = top // 2
        shrinkable = smaller - knobs.ent_min_ctx + 1 >= knobs.ent_min_usable_points
        if len(usable) >= knobs.ent_min_usable_points or not shrinkable:
            return EntropyWindow(top, usable, len(grid) - len(usable), reductions)
        top, reductions = smaller, reductions + 1


def _at(measured: ConditionalEntropies, lengths: tuple[int, ...]) -> NDArray[np.intp]:
    return np.searchsorted(measured.context_lengths, lengths)


def _fit_entropy(
    measured: ConditionalEntropies, window: EntropyWindow, knobs: StatisticsKnobs
) -> ShiftedPowerLawFit | None:
    """The shifted power law through the window's entropies; None where fewer than three lengths are left."""
    if len(window.lengths) < 3:
        return None
    bits = measured.bits[_at(measured, window.lengths)]
    return fit_shifted_power_law(window.lengths, bits, seed=knobs.fit_optuna_seed, trials=knobs.fit_optuna_trials)


def _entropy_curve(
    measured: ConditionalEntropies, window: EntropyWindow, fit: ShiftedPowerLawFit | None
) -> tuple[EntropyPoint, ...]:
    at = _at(measured, window.lengths)
    return tuple(
        EntropyPoint(
            context_len=length,
            conditional_entropy_bits=bits,
            unique_context_hashes=contexts,
            entropy_gap_bits=bits - fit.offset if fit else None,
        )
        for length, bits, contexts in zip(
            window.lengths, measured.bits[at].tolist(), measured.distinct_contexts[at].tolist(), strict=True
        )
    )
