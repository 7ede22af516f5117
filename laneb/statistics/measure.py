"""The statistics of a corpus, measured and fitted: the record behind stats.json."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laneb.knobs import StatisticsKnobs
from laneb.records.base import utc_now
from laneb.records.statistics import (
    CorrelationPoint,
    DatasetStats,
    EntropyEstimate,
    EntropyPoint,
    PowerLaw,
)
from laneb.statistics.correlation import (
    FLOOR,
    LagCovariance,
    all_counts,
    all_pairs,
    document_floor,
    operator_norms,
    within_documents,
)
from laneb.statistics.entropy import ConditionalEntropies, entropies
from laneb.statistics.held_out import HeldOut
from laneb.statistics.intervals import (
    LEVEL,
    BlockSurprise,
    block_edges,
    correlation_influence,
    exponent_interval,
)
from laneb.statistics.pairs import Pairs
from laneb.statistics.power_law import Problem, fit_power_law, fit_shifted_power_law, largest_offset
from laneb.statistics.sample import checked_starts
from laneb.statistics.symbols import FloatArray, IntArray, Symbols, as_symbols
from laneb.statistics.window import EntropyWindow, candidate_lengths, context_grid, entropy_window

BRACKET_TOLERANCE = 0.2
"""Widest bracket, as a share of its upper end, inside which an entropy estimate is taken for a measurement."""

OPERATOR_LAGS = 8
"""Lags, evenly spaced in their logarithm, at which the operator norm is computed on request."""


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
        dataset_id: recorded, as are tokenizer_id and split.
        vocab_size: tokens that could occur.

    Raises:
        ValueError: too few tokens for the smallest lag and the shortest context, or input that is no token sequence.
    """
    symbols = as_symbols(tokens)
    starts = checked_starts(document_starts, symbols.size)
    needed = max(knobs.corr_min_sep + 2, knobs.ent_min_ctx + 1)
    if symbols.size < needed:
        raise ValueError(f"the sample has {symbols.size} tokens; the statistics need {needed}. Sample more documents.")
    edges = block_edges(starts, symbols.size)
    return DatasetStats(
        timestamp_utc=utc_now(),
        dataset_id=dataset_id,
        tokenizer_id=tokenizer_id,
        split=split,
        num_docs_sampled=int(starts.size),
        num_tokens_sampled=symbols.size,
        vocab_size=vocab_size,
        token_unigram_collision_prob=symbols.collision_probability,
        fit_optuna_seed=knobs.fit_optuna_seed,
        fit_optuna_trials=knobs.fit_optuna_trials,
        interval_level=LEVEL,
        interval_blocks=int(edges.size) - 1,
        **_correlation_fields(symbols, starts, edges, knobs),
        **_entropy_fields(symbols, starts, edges, knobs, vocab_size),
    )


def _correlation_fields(
    symbols: Symbols, starts: NDArray[np.int64], edges: NDArray[np.int64], knobs: StatisticsKnobs
) -> dict[str, Any]:
    lags = np.arange(knobs.corr_min_sep, min(knobs.corr_max_sep, symbols.size - 1) + 1, dtype=np.int64)
    pairs = Pairs(symbols, lags)
    counts = all_counts(pairs, edges)
    covariance, within = all_pairs(pairs, counts), within_documents(pairs, starts)
    fit = fit_power_law(lags, covariance.norms)
    # d norm = d norm^2 / (2 norm); a norm at the floor has no influence to speak of.
    twice = np.where(covariance.norms > FLOOR, 2.0 * covariance.norms, np.inf)
    influence = correlation_influence(pairs, covariance, counts, edges) / twice
    operator: dict[int, float] = {}
    if knobs.corr_operator_norm:
        chosen = context_grid(int(lags[0]), int(lags[-1]), OPERATOR_LAGS)
        operator = dict(zip(chosen, operator_norms(symbols.ids, chosen).tolist(), strict=True))
    return {
        "corr_fit_min_sep": int(lags[0]),
        "corr_fit_max_sep": int(lags[-1]),
        "corr_curve": _correlation_curve(covariance, within, operator),
        "corr_decay_exponent": fit.exponent,
        "corr_decay_amplitude": fit.amplitude,
        "corr_decay_r2": fit.r2,
        "corr_decay_r2_warn_threshold": knobs.corr_r2_warn_threshold,
        "corr_decay_r2_low_quality": fit.r2 < knobs.corr_r2_warn_threshold,
        "corr_decay_exponent_interval": exponent_interval(
            lags.astype(np.float64), covariance.norms, influence, knobs.fit_optuna_seed
        ),
        "corr_lags_above_noise": int(np.count_nonzero(covariance.above_noise)),
        "corr_corrected_fit": _fit_above_noise(covariance),
        "corr_within_document_fit": _fit_above_noise(within),
        "corr_document_floor": document_floor(symbols.ids, starts, knobs.fit_optuna_seed),
        "corr_operator_fit": _power_law(list(operator), np.array(list(operator.values()))),
    }


def _correlation_curve(
    covariance: LagCovariance, within: LagCovariance, operator: dict[int, float]
) -> tuple[CorrelationPoint, ...]:
    columns = (
        covariance.lags.tolist(),
        covariance.norms.tolist(),
        covariance.noise_floor.tolist(),
        covariance.corrected.tolist(),
        [norm if many else None for norm, many in zip(within.norms.tolist(), within.pairs.tolist(), strict=True)],
        [norm if many else None for norm, many in zip(within.corrected.tolist(), within.pairs.tolist(), strict=True)],
    )
    return tuple(
        CorrelationPoint(
            separation=lag,
            frobenius_norm=norm,
            noise_floor=floor,
            corrected_norm=corrected,
            within_document_norm=inside,
            within_document_corrected_norm=inside_corrected,
            operator_norm=operator.get(lag),
        )
        for lag, norm, floor, corrected, inside, inside_corrected in zip(*columns, strict=True)
    )


def _fit_above_noise(covariance: LagCovariance) -> PowerLaw | None:
    above = covariance.above_noise
    return _power_law(covariance.lags[above], covariance.corrected[above])


def _power_law(x: ArrayLike, y: FloatArray, shifted: bool = False) -> PowerLaw | None:
    """The fit as a record; None with fewer than three points."""
    if y.size < 3:
        return None
    abscissae = np.asarray(x, dtype=np.float64)
    values = np.maximum(y, 0.0) if shifted else y
    fit = Problem(abscissae, values, largest_offset(values) if shifted else None).fit()
    return PowerLaw(
        exponent=fit.exponent, amplitude=fit.amplitude, offset=fit.offset, r2=fit.r2, points=int(values.size)
    )


def _entropy_fields(
    symbols: Symbols,
    starts: NDArray[np.int64],
    edges: NDArray[np.int64],
    knobs: StatisticsKnobs,
    vocab_size: int,
) -> dict[str, Any]:
    longest = min(knobs.ent_max_ctx, symbols.size - 1)
    lengths = np.arange(knobs.ent_min_ctx, longest + 1, dtype=np.int64)
    held_out = HeldOut(symbols, starts, vocab_size, longest)
    surprise = BlockSurprise(edges, candidate_lengths(knobs, longest))
    measured = entropies(symbols, lengths, held_out, surprise)
    window = entropy_window(measured, knobs)
    asked = context_grid(knobs.ent_min_ctx, longest, knobs.ent_num_points)
    estimates = _estimates(measured, held_out, tuple(sorted({*asked, *window.lengths})))
    usable = tuple(estimate.context_len for estimate in estimates if estimate.usable)
    at = np.array(window.lengths, dtype=np.int64) - knobs.ent_min_ctx
    fit = None
    if at.size >= 3:
        fit = fit_shifted_power_law(
            window.lengths, measured.bits[at], seed=knobs.fit_optuna_seed, trials=knobs.fit_optuna_trials
        )
    x = np.array(window.lengths, dtype=np.float64)
    usable_at = np.array(usable, dtype=np.int64) - knobs.ent_min_ctx
    return {
        "entropy_fit_min_ctx": knobs.ent_min_ctx,
        "entropy_fit_max_ctx": window.top,
        "entropy_num_points_requested": knobs.ent_num_points,
        "entropy_num_points_used": len(window.lengths),
        "entropy_min_usable_points": knobs.ent_min_usable_points,
        "entropy_uniqueness_threshold": knobs.ent_uniqueness_threshold,
        "entropy_skipped_data_starved": window.skipped,
        "entropy_fit_adaptive_reductions": window.reductions,
        "entropy_curve": _entropy_curve(measured, window, fit.offset if fit else None),
        "entropy_decay_exponent": fit.exponent if fit else None,
        "entropy_decay_amplitude": fit.amplitude if fit else None,
        "entropy_decay_r2": fit.r2 if fit else None,
        "entropy_decay_r2_warn_threshold": knobs.entropy_r2_warn_threshold,
        "entropy_decay_r2_low_quality": fit is None or fit.r2 < knobs.entropy_r2_warn_threshold,
        "entropy_h_inf_bits": fit.offset if fit else None,
        "entropy_decay_exponent_interval": exponent_interval(
            x, measured.bits[at], surprise.influence(window.lengths), knobs.fit_optuna_seed, shifted=True
        ),
        "entropy_estimates": estimates,
        "entropy_bracket_tolerance": BRACKET_TOLERANCE,
        "entropy_usable_context_lens": usable,
        "entropy_usable_fit": _power_law(usable, measured.grassberger_bits[usable_at], shifted=True),
        "entropy_grassberger_fit": _power_law(x, measured.grassberger_bits[at], shifted=True),
        "entropy_held_out_fit": _power_law(x, held_out.bound(measured.context_lengths[at]), shifted=True),
    }


def _estimates(
    measured: ConditionalEntropies, held_out: HeldOut, lengths: tuple[int, ...]
) -> tuple[EntropyEstimate, ...]:
    bounds = held_out.bound(measured.context_lengths).tolist()
    first = int(measured.context_lengths[0])
    estimates = []
    for length in lengths:
        at = length - first
        low, high = float(measured.bits[at]), bounds[at]
        estimates.append(
            EntropyEstimate(
                context_len=length,
                plug_in_bits=low,
                miller_madow_bits=float(measured.miller_madow_bits[at]),
                grassberger_bits=float(measured.grassberger_bits[at]),
                held_out_bits=high,
                distinct_contexts=int(measured.distinct_contexts[at]),
                samples_per_context=float(measured.samples_per_context[at]),
                singleton_share=float(measured.singleton_share[at]),
                usable=high - low <= BRACKET_TOLERANCE * high,
            )
        )
    return tuple(estimates)


def _entropy_curve(
    measured: ConditionalEntropies, window: EntropyWindow, offset: float | None
) -> tuple[EntropyPoint, ...]:
    first = int(measured.context_lengths[0])
    return tuple(
        EntropyPoint(
            context_len=length,
            conditional_entropy_bits=float(measured.bits[length - first]),
            unique_context_hashes=int(measured.distinct_contexts[length - first]),
            entropy_gap_bits=None if offset is None else float(measured.bits[length - first]) - offset,
        )
        for length in window.lengths
    )
