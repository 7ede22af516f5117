"""How trained models' loss falls with context: the exponent gamma, as the paper takes it, and theory's alpha."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from laneb.records.base import utc_now
from laneb.records.runs import ContextLoss, ContextLosses, RunResult
from laneb.records.statistics import ContextLossDecay, DatasetStats
from laneb.statistics.intervals import LEVEL, REPLICATES, Interval
from laneb.statistics.power_law import Problem, checked_points
from laneb.statistics.symbols import FloatArray


@dataclass(frozen=True)
class ContextFit:
    """loss = amplitude * n ** -gamma + h_inf_bits, n tokens of context; losses in bits per token.

    `gamma_interval` holds the central 95 % of gamma when the losses are drawn anew with their errors; None without.
    """

    gamma: float
    gamma_interval: Interval | None
    amplitude: float
    h_inf_bits: float
    r2: float


def fit_context_losses(
    contexts: ArrayLike,
    losses_bits: ArrayLike,
    widths: ArrayLike = 1.0,
    errors: ArrayLike | None = None,
    seed: int = 42,
) -> ContextFit:
    """Fit loss = a n^-gamma + h_inf, h_inf >= 0, to a finished model's loss by the length of its context.

    Lengths are spaced evenly, so that most lie near the end of the context. Each counts with weight n^-1/2: half way
    between what noise asks for (all alike, and the end decides) and what shape asks for (1/n, every octave alike).
    h_inf has no upper bound but the largest loss: held below the smallest one, as for exact curves, it would follow
    the luckiest draw of the noise, and gamma with it.

    Args:
        contexts: [K] tokens of context n >= 1 that the predictions had, at least three distinct; of a bin, the
            geometric mean.
        losses_bits: [K] mean loss of the predictions made there, in bits per token, not negative.
        widths: [K] lengths that were averaged over.
        errors: [K] standard errors of the losses, taken to be independent.
        seed: of the draws behind the interval.

    Returns:
        gamma > 0 for a loss that falls with context; its R^2 with the same weights.

    Raises:
        ValueError: NaN, contexts below 1 or fewer than three distinct, negative losses, arrays of different length.

    Source: Cagnetta et al. 2026, arXiv:2602.07488.
    """
    abscissae, losses = checked_points(contexts, losses_bits, 3)
    if abscissae.min() < 1:
        raise ValueError(f"contexts: {abscissae.min()} is below 1. Leave out predictions made without context.")
    if losses.min() < 0:
        raise ValueError(f"losses_bits: {losses.min()} is negative, which no loss is.")
    weights = np.asarray(widths, dtype=np.float64) / np.sqrt(abscissae)
    fit = Problem(abscissae, losses, float(losses.max()), weights).fit()
    interval = None
    if errors is not None:
        interval = _interval(abscissae, losses, weights, np.asarray(errors, dtype=np.float64), seed)
    return ContextFit(fit.exponent, interval, fit.amplitude, fit.offset, fit.r2)


def _interval(contexts: FloatArray, losses: FloatArray, weights: FloatArray, errors: FloatArray, seed: int) -> Interval:
    noise = np.random.default_rng(seed).standard_normal((REPLICATES, losses.size)) * errors
    draws = np.maximum(losses + noise, 0.0)
    exponents = [Problem(contexts, draw, float(draw.max()), weights).best_exponent() for draw in draws]
    low, high = np.quantile(exponents, [(1.0 - LEVEL) / 2, (1.0 + LEVEL) / 2])
    return float(low), float(high)


def context_loss_decay(runs: Sequence[RunResult], stats: DatasetStats, seed: int = 42) -> ContextLossDecay:
    """gamma of the average over finished runs of one recipe, and the exponent that theory makes of it.

    alpha = gamma / (2 beta), beta the decay exponent of the corpus's correlations: the corrected one, which is fitted
    above the noise floor, where there is one. Source: Cagnetta et al. 2026, arXiv:2602.07488.

    Args:
        runs: those without a loss by context are left out.
        stats: of the corpus that they were trained on.
        seed: of the draws behind the interval.

    Returns:
        The record; where there is no gamma, or no alpha, `reason` says why.
    """
    measured = [run for run in runs if run.context_losses is not None]
    beta = stats.corr_corrected_fit.exponent if stats.corr_corrected_fit else stats.corr_decay_exponent
    curve, rows = average_curve([run.context_losses for run in measured if run.context_losses is not None])
    fit = _fit_curve(curve, seed) if curve else None
    reason = _complaint(fit, beta) if fit else _why_not_measured(runs)
    return ContextLossDecay(
        timestamp_utc=utc_now(),
        run_ids=tuple(run.run_id for run in measured),
        fingerprints=tuple(run.fingerprint for run in measured),
        rows=rows,
        curve=curve,
        beta=beta,
        alpha=None if fit is None or reason else fit.gamma / (2 * beta),
        reason=reason,
        **(asdict(fit) if fit else {}),
    )


def average_curve(measured: Sequence[ContextLosses]) -> tuple[tuple[ContextLoss, ...], int]:
    """The mean over runs of equal context, and on how many different rows it rests.

    Each seed draws its own rows, so errors fall with the number of runs; but no further than with all the rows that
    there are.
    """
    if not measured:
        return (), 0
    rows = min(sum(losses.rows for losses in measured), max(losses.rows_available for losses in measured))
    bits = np.mean([[point.bits for point in losses.curve] for losses in measured], axis=0)
    variances = np.mean([[point.error**2 * losses.rows for point in losses.curve] for losses in measured], axis=0)
    errors = np.sqrt(variances / rows)
    bins = [(point.first, point.last) for point in measured[0].curve]
    table = zip(bins, bits.tolist(), errors.tolist(), strict=True)
    return tuple(ContextLoss(first, last, mean, error) for (first, last), mean, error in table), rows


def context_of(point: ContextLoss) -> float:
    """Where a bin lies: the geometric mean of its lengths."""
    return float(np.exp(np.log(np.arange(point.first, point.last + 1)).mean()))


def _fit_curve(curve: Sequence[ContextLoss], seed: int) -> ContextFit:
    return fit_context_losses(
        [context_of(point) for point in curve],
        [point.bits for point in curve],
        [point.last - point.first + 1 for point in curve],
        [point.error for point in curve],
        seed,
    )


def _complaint(fit: ContextFit, beta: float) -> str:
    if fit.gamma <= 0 or fit.amplitude <= 0:
        return "the loss does not fall with context as a power does"
    return "" if beta > 0 else "the corpus's correlations do not decay"


def _why_not_measured(runs: Sequence[RunResult]) -> str:
    if not runs:
        return "there are no baselines"
    if all(run.backend == "nanochat" for run in runs):
        return "nanochat's own script trains the baselines, and evaluates no loss by context"
    if all(run.backend == "simulated" for run in runs):
        return "the baselines are simulated, without a model to evaluate"
    if all(run.status != "ok" for run in runs):
        return "no baseline finished"
    return (
        f"no validation document is longer than the context of {runs[0].max_seq_len} tokens, or the baselines were "
        "trained before the loss by context was measured"
    )
