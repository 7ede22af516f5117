"""The ratio at which finished runs reach the threshold, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from laneb.inference.checks import checked_count, checked_number, checked_pair
from laneb.inference.horizon import SolveStatus
from laneb.inference.interval import alpha_interval, horizon_interval
from laneb.inference.lane import EXPONENT_HORIZONS, Lane, Prior, Target, fit_cells, solve_lane
from laneb.inference.levels import cells_from
from laneb.inference.loss_curve import ALPHA_BOUNDS, LossCurve, LossCurveError
from laneb.inference.points import checked_points
from laneb.inference.reach import Reach, reach_horizon, reach_probability

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class RatioEstimate:
    """Answer of `infer_ratio`. Ratios are training tokens per scaling parameter."""

    ratio: float | None
    ratio_interval: tuple[float, float]
    """At the confidence asked for: (0, inf) where the data bound nothing, or do not measure their own noise."""
    tokens: float | None
    status: SolveStatus
    bracketed: bool
    """The target lies between the levels of the shortest and the longest horizon."""
    alpha: float
    """The exponent given, or fitted."""
    alpha_interval: tuple[float, float]
    """Of a fitted alpha; equal ends when it was given."""
    exponent_in_use: float
    """The exponent that bends the answer: of the finals and the prior about a given one, between horizons within
    0.1 to 1."""
    own_alpha: float | None
    """The exponent of the finals alone; None where two horizons can't tell it."""
    own_alpha_interval: tuple[float, float]
    warnings: tuple[str, ...]
    curve: LossCurve
    """With the exponent of the finals and the prior."""
    goal: float
    """The loss looked for [bpb]: the threshold, or the loss at the baselines' horizon plus the offset."""
    extrapolation_factor: float | None
    """How far outside the horizons the solution lies (1 inside), also when it was refused for that."""
    extrapolation_limit: float
    noise_sd: float
    seed_sd: float
    spread: float
    """Loss at the shortest horizon less that at the longest [bpb]."""
    levels: tuple[tuple[float, float], ...]
    """(tokens, loss of the mean seed) per horizon."""
    interval_method: str
    weak: bool
    """There is no interval, an open one, or one on hardly measured spreads."""
    lane: Lane = field(repr=False, compare=False)
    """The fit itself, which further questions are put to."""
    n_scaling_params: int = field(repr=False, compare=False)
    seed_effects: Mapping[int, float] = field(default_factory=dict)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The ratio's confidence interval at a level between 0 and 1; (0, inf) without an answer or a measured noise.

        Raises:
            ValueError: a level that is no number between 0 and 1.
        """
        level = checked_number("level", level, above=0, below=1)
        low, high = interval_of(self.lane, level)
        return low / self.n_scaling_params, high / self.n_scaling_params

    def reach(self, probability: float = 0.9, level: float = 0.95) -> Reach:
        """The horizon from which on a run of a new seed reaches the threshold with a probability: a prediction.

        Raises:
            ValueError: a probability or level that is no number between 0 and 1.
        """
        probability = checked_number("probability", probability, above=0, below=1)
        return reach_horizon(self.lane, probability, checked_number("level", level, above=0, below=1))

    def reach_probability(self, ratio: float) -> float | None:
        """How likely a run of a new seed that is finished at a ratio reaches the threshold; None where the finals do
        not measure how runs scatter.

        Raises:
            ValueError: a ratio that is no positive number.
        """
        tokens = checked_number("ratio", ratio, above=0) * self.n_scaling_params
        if not self.lane.levels.spreads_measured:
            return None
        return float(reach_probability(self.lane, np.array([tokens]))[0])


def infer_ratio(
    points: pd.DataFrame,
    *,
    threshold: float,
    n_scaling_params: int,
    alpha: float | None = None,
    alpha_prior: tuple[float, float] | None = None,
    baseline_tokens: float | None = None,
    offset: float = 0.0,
    confidence: float = 0.95,
    draws: int | None = None,
) -> RatioEstimate:
    """Training tokens per scaling parameter at which a finished run reaches the threshold.

    A level per horizon and an effect per seed are fitted. Where the levels bracket the threshold, the horizon is
    interpolated between the two around it, on a line in D ** -alpha: monotone in log D, exact for the family
    L_inf + A D ** -alpha whatever A and L_inf. Outside, the fitted loss curve is solved, up to 1.5 times beyond three
    or more horizons; beyond that, and beyond two horizons at all, no ratio is given.

    Args:
        points: one row per finished run: `tokens` trained, `loss` at the end [bpb], `seed`. Optional: `run_id` and
            `horizon_tokens` (a point inside a run, or a second one of the same run, is refused), and
            `warmdown_ratio`, `warmdown_shape`, `depth`, `max_seq_len`, `total_batch_size`, `n_scaling_params`,
            `recipe` (mixed values are refused).
        threshold: loss to reach [bpb].
        n_scaling_params: scaling parameters of the model.
        alpha: an exponent that does not come from the finals: the mean of a normal prior, of standard deviation 0.3,
            that stands in the answer and in its interval. None: the finals alone tell it.
        alpha_prior: (mean, standard deviation) of that prior, instead of `alpha`.
        baseline_tokens: horizon of the baselines, one of the points' own, where `threshold` is their median loss plus
            `offset`. Such a threshold moves with the seeds that calibrate, so the horizon is the one whose loss lies
            `offset` above the loss at `baseline_tokens`: the seeds' effects cancel, and the interval is the narrower.
        offset: threshold less the baselines' median [bpb], with `baseline_tokens`.
        confidence: of the interval, between 0 and 1.
        draws: of the bootstrap that from 8 seeds on gave the interval once; refused.

    Returns:
        RatioEstimate; `ratio` is None unless status is "ok". Beside the statuses of `solve_horizon`:
        "extrapolation_beyond_limit" and "noise_exceeds_spread".

    Raises:
        ValueError: points that can't be used (see above), fewer than 2 horizons, losses that do not improve with
            tokens, an argument that is no number of its range, or baselines' tokens that are no point's.

    Example:
        >>> import pandas as pd
        >>> points = pd.DataFrame({"tokens": [1e9, 2e9, 4e9] * 2, "seed": [41] * 3 + [42] * 3,
        ...                        "loss": [1.0, 0.9, 0.83, 1.002, 0.902, 0.832]})
        >>> answer = infer_ratio(points, threshold=0.86, n_scaling_params=100_000_000)
        >>> answer.status, round(answer.ratio, 1)
        ('ok', 29.1)
        >>> answer.reach(0.9).tokens > answer.tokens
        True
    """
    threshold = checked_number("threshold", threshold, unit="bpb")
    scaling = checked_count("n_scaling_params", n_scaling_params)
    confidence = checked_number("confidence", confidence, above=0, below=1)
    if draws is not None:
        raise ValueError(f"draws {draws!r}: nothing is drawn, the interval inverts a t test at any number of seeds")
    prior = _prior(alpha, alpha_prior)
    cells = cells_from(checked_points(points))
    target = _target(threshold, baseline_tokens, offset, cells.horizons.tolist())
    lane = solve_lane(cells, target, prior)
    interval, method = interval_of(lane, confidence), interval_method(lane)
    own, exponents = own_exponent(lane, confidence)
    levels = lane.levels
    return RatioEstimate(
        ratio=None if lane.tokens is None else lane.tokens / scaling,
        ratio_interval=(interval[0] / scaling, interval[1] / scaling),
        tokens=lane.tokens,
        status=lane.status,
        bracketed=lane.bracketed,
        alpha=lane.curve.alpha if alpha is None else alpha,
        alpha_interval=exponents if alpha is None else (alpha, alpha),
        exponent_in_use=lane.exponent_in_use,
        own_alpha=None if own is None else own.alpha,
        own_alpha_interval=exponents,
        warnings=tuple(_warnings(lane, own, interval, confidence)),
        curve=lane.curve,
        goal=lane.goal,
        extrapolation_factor=lane.extrapolation_factor,
        extrapolation_limit=lane.extrapolation_limit,
        noise_sd=levels.noise_sd,
        seed_sd=levels.seed_sd,
        spread=levels.spread,
        levels=tuple(zip(cells.horizons.tolist(), levels.level.tolist(), strict=True)),
        interval_method=method,
        weak=not levels.effects_told
        or not lane.interval_measured
        or len(cells.seeds) < 3
        or not math.isfinite(interval[1])
        or interval[0] <= 0,
        lane=lane,
        n_scaling_params=scaling,
        seed_effects=dict(zip(cells.seeds, levels.seed_effects.tolist(), strict=True)),
    )


def interval_of(lane: Lane, confidence: float) -> tuple[float, float]:
    """The interval of a lane's horizon [tokens]; (0, inf) without one.

    Where the finals do not measure their own noise there is none: on an assumed one a "95 %" interval covers 69 % where
    runs are twice as noisy, and no widening covers 93 to 97 % at once and twice the noise (docs/method.md).
    """
    if lane.tokens is None or not lane.interval_measured:
        return 0.0, math.inf
    return horizon_interval(lane.tokens, lane.gap, lane.levels, lane.estimate.prior_variance, confidence)


def interval_method(lane: Lane) -> str:
    """How a lane's interval comes about, in a word."""
    if lane.tokens is None or not lane.interval_measured:
        return "none"
    return "t_inversion_contrast" if lane.target.from_baselines else "t_inversion"


def own_exponent(lane: Lane, confidence: float) -> tuple[LossCurve | None, tuple[float, float]]:
    """The loss curve of the finals alone and the interval of its exponent; of two horizons none, and any exponent."""
    cells = lane.levels.cells
    if len(cells.horizons) < EXPONENT_HORIZONS:
        return None, ALPHA_BOUNDS
    own = lane.curve if lane.estimate.prior_sd is None else fit_cells(cells, None)
    return own, alpha_interval(cells, own.alpha, ALPHA_BOUNDS, confidence)


def _prior(alpha: object, alpha_prior: object) -> Prior | None:
    if alpha is not None and alpha_prior is not None:
        raise ValueError("alpha and alpha_prior: alpha is the mean of a prior itself; give one of them")
    if alpha is not None:
        return Prior(checked_number("alpha", alpha, above=0))
    if alpha_prior is None:
        return None
    mean, sd = checked_pair("alpha_prior", alpha_prior)
    return Prior(mean, checked_number("the standard deviation of alpha_prior", sd, above=0))


def _target(threshold: float, baseline_tokens: object, offset: object, horizons: list[float]) -> Target:
    moved = checked_number("offset", offset, unit="bpb")
    if moved < 0:
        raise ValueError(f"offset {moved:g} is negative; it is the threshold less the baselines' median [bpb]")
    if baseline_tokens is None:
        if moved > 0:
            raise ValueError(f"offset {moved:g} without baseline_tokens has nothing to lie above; give both or neither")
        return Target(threshold)
    tokens = checked_number("baseline_tokens", baseline_tokens, above=0, unit="tokens")
    if tokens not in horizons:
        shown = ", ".join(f"{horizon:,.0f}" for horizon in horizons)
        raise LossCurveError(
            f"baseline_tokens {tokens:,.0f} is no horizon of the points ({shown}), so the loss there is not known. "
            f"Leave it out to take the threshold as it is."
        )
    return Target(threshold, tokens, moved)


def _warnings(lane: Lane, own: LossCurve | None, interval: tuple[float, float], confidence: float) -> list[str]:
    found = [*_position(lane), *_scatter(lane)]
    if own is None and lane.estimate.prior_sd is not None:
        found.append(f"two horizons can't tell the exponent; {lane.curve.alpha:g} is assumed between them")
    elif lane.curve.alpha_at_bound:
        found.append(f"the fitted exponent {lane.curve.alpha:.3g} stands at the end of its range {ALPHA_BOUNDS}")
    bounded = interval[0] > 0 and math.isfinite(interval[1])
    if lane.tokens is not None and lane.interval_measured and not bounded:
        found.append(
            f"the {confidence:.0%} interval of the horizon is open ({interval[0]:.4g} to {interval[1]:.4g} "
            f"tokens): the threshold is not told from the levels around it. Calibrate with more seeds."
        )
    return found


def _position(lane: Lane) -> list[str]:
    """Where the answer lies among the horizons."""
    found = []
    cells, goal = lane.levels.cells, lane.goal
    lowest, highest = float(lane.levels.level.min()), float(lane.levels.level.max())
    if goal < lowest:
        found.append(f"the threshold {goal:.6g} lies below every final (lowest level {lowest:.6g})")
    elif goal > highest:
        found.append(f"the threshold {goal:.6g} lies above every final (highest level {highest:.6g})")
    if not lane.bracketed and lane.extrapolation_factor is not None:
        refused = lane.status == "extrapolation_beyond_limit"
        limit = f"limit {lane.extrapolation_limit:g}"
        if len(cells.horizons) < EXPONENT_HORIZONS:
            limit = "two horizons can't tell the exponent, and never extrapolate"
        found.append(
            f"{'refused' if refused else 'extrapolated'}: the answer lies {lane.extrapolation_factor:.2f} times "
            f"outside the horizons {cells.horizons[0]:,.0f} to {cells.horizons[-1]:,.0f} tokens ({limit}). "
            f"Calibrate at a horizon beyond it."
        )
    if not lane.bracketed and lane.curve.asymptote < 0:
        found.append(f"the fitted asymptote is negative ({lane.curve.asymptote:.4g}), which no text has")
    return found


def _scatter(lane: Lane) -> list[str]:
    """What the finals' scatter leaves unsure."""
    levels = lane.levels
    found = []
    if lane.status == "noise_exceeds_spread":
        found.append(
            f"the noise ({levels.noise_sd:.4g}) is larger than the spread of the levels ({levels.spread:.4g}). "
            f"Calibrate further apart or with more seeds."
        )
    elif levels.noise_sd > levels.spread / 5:
        found.append(
            f"the noise ({levels.noise_sd:.4g}) is more than a fifth of the levels' spread ({levels.spread:.4g})"
        )
    if not lane.estimate.interpolation.monotone:
        found.append(
            "a longer horizon has the higher level somewhere; neighbours were pooled to keep the curve falling"
        )
    seeds = len(levels.cells.seeds)
    none = "" if lane.interval_measured else ", so there is no interval"
    if seeds == 1:
        what = "how runs scatter" if levels.noise_assumed else "the spread over seeds"
        of_new = none or ", so nothing is said of what a run of a new seed will do"
        found.append(f"one seed: nothing measures {what}{of_new}. Calibrate with 3 seeds (LANE_B_CALIB_SEEDS).")
    elif not levels.effects_told:
        found.append(
            f"seeds and horizons do not overlap, so seed effects can't be told{none}. Use the same seeds "
            f"at each horizon."
        )
    elif none:
        found.append(
            f"as many levels and seed effects as finals: nothing measures the noise within a seed{none}. Calibrate "
            f"with one seed more (LANE_B_CALIB_SEEDS)."
        )
    elif seeds == 2:
        found.append("two seeds: their spread has one degree of freedom, so the interval is wide and weak")
    return found
