"""The ratio at which finished runs reach the threshold, with its interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pandas as pd

from laneb.inference.horizon import SolveStatus
from laneb.inference.lane import ASSUMED_ALPHA, EXTRAPOLATION_LIMIT, Lane, solve_cells, solve_lane
from laneb.inference.levels import Cells, cells_from
from laneb.inference.loss_curve import ALPHA_BOUNDS, LossCurve
from laneb.inference.points import checked_points
from laneb.inference.uncertainty import BOOTSTRAP_SEEDS, alpha_interval, bootstrap_interval, inversion_interval


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
    lane = solve_lane(cells, threshold, alpha, alpha_prior)
    warnings = _warnings(lane, threshold, alpha)
    interval, method = (0.0, math.inf), "none"
    if lane.tokens is not None:
        interval, method = _interval(lane, threshold, alpha, alpha_prior, confidence, draws, seed)
        if not (interval[0] > 0 and math.isfinite(interval[1])):
            warnings.append(
                f"the {confidence:.0%} interval of the horizon is open ({interval[0]:.4g} to {interval[1]:.4g} "
                f"tokens): the threshold is not told from the levels around it. Calibrate with more seeds."
            )
    levels = lane.levels
    if alpha is not None:
        exponents = (alpha, alpha)
    elif len(cells.horizons) < 3:
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


def _interval(
    lane: Lane,
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
            return solve_cells(drawn, threshold, alpha, alpha_prior)

        return bootstrap_interval(cells, solve, confidence, draws=draws, seed=seed), "seed_bootstrap"
    interval = inversion_interval(lane.tokens, threshold, lane.levels, lane.estimate, confidence)
    return interval, "t_inversion_assumed_seed_sd" if lane.levels.seeds_assumed else "t_inversion"


def _warnings(lane: Lane, threshold: float, alpha: float | None) -> list[str]:
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
    if not lane.bracketed and lane.curve.asymptote < 0:
        found.append(f"the fitted asymptote is negative ({lane.curve.asymptote:.4g}), which no text has")
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
