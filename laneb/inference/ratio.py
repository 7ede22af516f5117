"""The ratio at which finished runs reach the threshold, with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from laneb.inference.horizon import SolveStatus, solve_horizon
from laneb.inference.interpolation import Interpolation, curve_estimator
from laneb.inference.levels import Cells, Levels, cells_from, estimate_levels
from laneb.inference.loss_curve import ALPHA_BOUNDS, LossCurve, fit_loss_curve
from laneb.inference.points import checked_points
from laneb.inference.uncertainty import BOOTSTRAP_SEEDS, alpha_interval, bootstrap_interval, inversion_interval

Floats = NDArray[np.float64]

EXTRAPOLATION_LIMIT = 1.5
"""Beyond this factor outside the calibrated horizons the loss curve is a guess, and no ratio is given."""
ASSUMED_ALPHA = 0.5
"""Curvature between two horizons, which can't tell an exponent; bracketed, the ratio hardly depends on it."""
CURVATURE_BOUNDS = (0.1, 1.0)
"""A fitted exponent beyond these would bend the interpolation by noise."""


@dataclass(frozen=True)
class RatioEstimate:
    """Answer of `infer_ratio`. Ratios are training tokens per scaling parameter."""

    ratio: float | None
    ratio_interval: tuple[float, float]
    """95 %: (0, inf) where the data bound nothing."""
    tokens: float | None
    status: SolveStatus
    bracketed: bool
    """The threshold lies between the levels of the shortest and the longest horizon."""
    alpha: float
    alpha_interval: tuple[float, float]
    """Of a fitted alpha; equal ends when it was given."""
    warnings: tuple[str, ...]
    curve: LossCurve
    extrapolation_factor: float | None
    """How far outside the horizons the solution lies (1 inside), also when it was refused for that."""
    noise_sd: float
    seed_sd: float
    spread: float
    """Loss at the shortest horizon less that at the longest [bpb]."""
    levels: tuple[tuple[float, float], ...]
    """(tokens, loss of the mean seed) per horizon."""
    interval_method: str
    weak: bool
    """The interval rests on assumed or hardly measured spreads."""
    seed_effects: dict[int, float] = field(default_factory=dict)


def infer_ratio(
    points: pd.DataFrame,
    *,
    threshold: float,
    n_scaling_params: int,
    alpha: float | None = None,
    alpha_prior: tuple[float, float] | None = None,
    confidence: float = 0.95,
    draws: int = 1000,
    seed: int = 42,
    intervals: bool = True,
) -> RatioEstimate:
    """Training tokens per scaling parameter at which a finished run reaches the threshold.

    A level per horizon and an effect per seed are fitted. Where the levels bracket the threshold, the horizon is
    interpolated between the two around it, on a line in D ** -alpha: monotone in log D, exact for the family
    L_inf + A D ** -alpha whatever A and L_inf, and for any exponent within a percent where horizons lie a factor 2
    apart. Outside, the fitted loss curve is solved, up to 1.5 times beyond the horizons; beyond that no ratio is given.

    Args:
        points: one row per finished run: `tokens` trained, `loss` at the end [bpb], `seed`. Optional: `run_id` and
            `horizon_tokens` (a point inside a run, or a second one of the same run, is refused), and
            `warmdown_ratio`, `warmdown_shape`, `depth`, `max_seq_len`, `total_batch_size`, `n_scaling_params` (mixed
            values are refused).
        threshold: loss to reach [bpb].
        n_scaling_params: scaling parameters of the model.
        alpha: the exponent; None fits it.
        alpha_prior: (mean, standard deviation) for a fitted one.
        confidence: of the interval.
        draws, seed: of the bootstrap over seeds, used from 8 seeds on; with fewer the interval inverts a t test.
        intervals: False leaves the intervals open, which saves their time.

    Returns:
        RatioEstimate; `ratio` is None unless status is "ok". Beside the statuses of `solve_horizon`:
        "extrapolation_beyond_limit" and "noise_exceeds_spread".

    Raises:
        ValueError: points that can't be used (see above), fewer than 2 horizons, losses that do not improve with
            tokens, a threshold or alpha that is not a positive number.
    """
    if not math.isfinite(threshold):
        raise ValueError(f"threshold {threshold} is not a finite loss")
    if alpha is not None and not (math.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha {alpha} is not a positive number; leave it out to fit it")
    if n_scaling_params < 1:
        raise ValueError(f"n_scaling_params {n_scaling_params} is not positive")
    cells = cells_from(checked_points(points))
    lane = _solve_lane(cells, threshold, alpha, alpha_prior)
    warnings = _warnings(lane, threshold, alpha)
    interval, method = (0.0, math.inf), "none"
    if intervals and lane.tokens is not None:
        interval, method = _interval(lane, threshold, alpha, alpha_prior, confidence, draws, seed)
        if not (interval[0] > 0 and math.isfinite(interval[1])):
            warnings.append(
                f"the {confidence:.0%} interval of the horizon is open ({interval[0]:.4g} to {interval[1]:.4g} "
                f"tokens): the threshold is not told from the levels around it. Calibrate with more seeds."
            )
    levels = lane.levels
    if alpha is not None:
        exponents = (alpha, alpha)
    elif len(cells.horizons) < 3 or not intervals:
        exponents = ALPHA_BOUNDS
    else:
        exponents = alpha_interval(cells, lane.curve.alpha, ALPHA_BOUNDS, confidence)
    return RatioEstimate(
        ratio=None if lane.tokens is None else lane.tokens / n_scaling_params,
        ratio_interval=(interval[0] / n_scaling_params, interval[1] / n_scaling_params),
        tokens=lane.tokens,
        status=lane.status,
        bracketed=lane.bracketed,
        alpha=lane.curve.alpha,
        alpha_interval=exponents,
        warnings=tuple(warnings),
        curve=lane.curve,
        extrapolation_factor=lane.extrapolation_factor,
        noise_sd=levels.noise_sd,
        seed_sd=levels.seed_sd,
        spread=float(levels.level[0] - levels.level[-1]),
        levels=tuple(zip(cells.horizons.tolist(), levels.level.tolist(), strict=True)),
        interval_method=method,
        weak=not levels.effects_told or len(cells.seeds) < 3 or not math.isfinite(interval[1]) or interval[0] <= 0,
        seed_effects=dict(zip(cells.seeds, levels.seed_effects.tolist(), strict=True)),
    )


@dataclass(frozen=True)
class _Lane:
    """One lane's levels, curve and solution."""

    levels: Levels
    curve: LossCurve
    tokens: float | None
    status: SolveStatus
    bracketed: bool
    extrapolation_factor: float | None
    estimate: Callable[[Floats], tuple[Floats, Floats]]
    monotone: bool


def _solve_lane(cells: Cells, threshold: float, alpha: float | None, alpha_prior: tuple[float, float] | None) -> _Lane:
    curve = _fit_curve(cells, alpha, alpha_prior)
    freedom = len(cells.losses) - 2 - len(cells.effect_columns().T) - int(curve.alpha_fitted)
    residual = (curve.residual_sd**2 * freedom, freedom) if freedom > 0 else None
    levels = estimate_levels(cells, residual)
    bend = alpha if alpha is not None else float(np.clip(curve.alpha, *CURVATURE_BOUNDS))
    interpolation = Interpolation.through(levels, bend)
    outside = curve_estimator(cells, curve)
    first, last = float(cells.horizons[0]), float(cells.horizons[-1])

    def estimate(tokens: Floats) -> tuple[Floats, Floats]:
        inner_loss, inner_weights = interpolation.estimate(np.clip(tokens, first, last))
        outer_loss, outer_weights = outside(tokens)
        inside = (tokens >= first) & (tokens <= last)
        return np.where(inside, inner_loss, outer_loss), np.where(inside[:, None], inner_weights, outer_weights)

    bracketed = interpolation.brackets(threshold)
    tokens: float | None
    status: SolveStatus
    if bracketed:
        tokens, status = interpolation.solve(threshold), "ok"
    else:
        horizon = solve_horizon(curve, threshold)
        tokens, status = horizon.tokens, horizon.status
    factor = None if tokens is None else max(1.0, tokens / last, first / tokens)
    if factor is not None and factor > EXTRAPOLATION_LIMIT:
        tokens, status = None, "extrapolation_beyond_limit"
    if tokens is not None and levels.noise_sd >= levels.level[0] - levels.level[-1]:
        tokens, status = None, "noise_exceeds_spread"
    return _Lane(levels, curve, tokens, status, bracketed, factor, estimate, interpolation.monotone)


def _fit_curve(cells: Cells, alpha: float | None, alpha_prior: tuple[float, float] | None) -> LossCurve:
    columns = cells.effect_columns().shape[1]
    # Where effects can't be told, each point counts as a seed of its own, so that none of them is a repeated horizon.
    seeds = [cells.seeds[index] for index in cells.seed_index] if columns else None
    tokens, losses = cells.tokens, cells.losses
    if seeds is None and len(cells.horizons) < len(losses):
        losses = np.array([losses[cells.horizon_index == index].mean() for index in range(len(cells.horizons))])
        tokens = cells.horizons
    if alpha is None and alpha_prior is None and len(cells.horizons) < 3:
        alpha = ASSUMED_ALPHA
    return fit_loss_curve(tokens, losses, alpha, seeds=seeds, alpha_prior=alpha_prior)


def _interval(
    lane: _Lane,
    threshold: float,
    alpha: float | None,
    alpha_prior: tuple[float, float] | None,
    confidence: float,
    draws: int,
    seed: int,
) -> tuple[tuple[float, float], str]:
    assert lane.tokens is not None
    cells = lane.levels.cells
    if len(cells.seeds) >= BOOTSTRAP_SEEDS and lane.levels.effects_told:

        def solve(drawn: Cells) -> float | None:
            try:
                return _solve_lane(drawn, threshold, alpha, alpha_prior).tokens
            except ValueError:
                return None

        return bootstrap_interval(cells, solve, confidence, draws=draws, seed=seed), "seed_bootstrap"
    interval = inversion_interval(lane.tokens, threshold, lane.levels, lane.estimate, confidence)
    return interval, "t_inversion_assumed_seed_sd" if lane.levels.seeds_assumed else "t_inversion"


def _warnings(lane: _Lane, threshold: float, alpha: float | None) -> list[str]:
    levels, cells = lane.levels, lane.levels.cells
    lowest, highest = float(levels.level.min()), float(levels.level.max())
    spread = float(levels.level[0] - levels.level[-1])
    found = []
    if threshold < lowest:
        found.append(f"the threshold {threshold:.6g} lies below every final (lowest level {lowest:.6g})")
    elif threshold > highest:
        found.append(f"the threshold {threshold:.6g} lies above every final (highest level {highest:.6g})")
    if lane.extrapolation_factor is not None and lane.extrapolation_factor > 1:
        verb = "refused" if lane.status == "extrapolation_beyond_limit" else "extrapolated"
        found.append(
            f"{verb}: the answer lies {lane.extrapolation_factor:.2f} times outside the horizons "
            f"{cells.horizons[0]:,.0f} to {cells.horizons[-1]:,.0f} tokens (limit {EXTRAPOLATION_LIMIT:g}). "
            f"Calibrate at a horizon beyond it."
        )
    if lane.status == "noise_exceeds_spread":
        found.append(
            f"the noise ({levels.noise_sd:.4g}) is larger than the spread of the levels ({spread:.4g}). "
            f"Calibrate further apart or with more seeds."
        )
    elif levels.noise_sd > spread / 5:
        found.append(f"the noise ({levels.noise_sd:.4g}) is more than a fifth of the levels' spread ({spread:.4g})")
    if not lane.monotone:
        found.append(
            "a longer horizon has the higher level somewhere; neighbours were pooled to keep the curve falling"
        )
    if len(cells.seeds) == 1:
        found.append(
            f"one seed: the spread over seeds is assumed ({levels.seed_sd:.4g}), so the interval is weak. "
            f"Calibrate with 3 seeds (LANE_B_CALIB_SEEDS)."
        )
    elif not levels.effects_told:
        found.append(
            "seeds and horizons do not overlap, so seed effects can't be told. Use the same seeds at each horizon."
        )
    elif len(cells.seeds) == 2:
        found.append("two seeds: their spread has one degree of freedom, so the interval is wide and weak")
    if alpha is None and len(cells.horizons) < 3:
        found.append(f"two horizons can't tell the exponent; {ASSUMED_ALPHA:g} is assumed between them")
    elif lane.curve.alpha_at_bound:
        found.append(f"the fitted exponent {lane.curve.alpha:.3g} stands at the end of its range {ALPHA_BOUNDS}")
    return found
