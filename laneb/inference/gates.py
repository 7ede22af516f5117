"""The conditions on an inference, each with a name, its numbers and what to do when it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from laneb.inference.calibration import shape_and_schedule, unfinished_reason
from laneb.inference.exponent import Exponent, ExponentStatistics
from laneb.inference.lane import EXTRAPOLATION_LIMIT
from laneb.inference.ratio import RatioEstimate
from laneb.knobs import InferenceKnobs
from laneb.records.inference import Gate
from laneb.records.runs import RunResult

MIN_CURVE_R2 = 0.95
"""Of the loss curve over finals. Between bracketing horizons a warning, beyond them the answer rests on it."""
MAX_RELATIVE_WIDTH = 0.2
"""Half the interval over the ratio: wider than this, the confirmation's 5 % confirms little."""
MIN_WARMDOWN_GAIN = 0.0025
"""Loss that the warmdown must win, as a share of the loss: eight times what a paired difference scatters by."""

GATE_NAMES = (
    "finished_runs",
    "statistics_quality",
    "plausible_exponent",
    "solved",
    "feasible",
    "fit_quality",
    "noise_below_spread",
    "bracketed",
    "extrapolation",
    "interval",
    "warmdown_pays",
)
"""Every gate, in the order in which a reader asks."""


@dataclass(frozen=True)
class Solution:
    """What candidates would train at, by the method in use."""

    tokens: float | None
    status: str
    limit_tokens: float


def judge_gates(
    *,
    stats: ExponentStatistics,
    exponent: Exponent,
    estimate: RatioEstimate,
    solution: Solution,
    knobs: InferenceKnobs,
    fixed_alpha_r2: float,
    runs: Sequence[RunResult],
    baselines: Sequence[RunResult],
) -> tuple[Gate, ...]:
    """All gates, in the order in which a reader asks."""
    finals = knobs.solve_method == "finals"
    gates = [
        _finished_runs(runs),
        _statistics_quality(stats, exponent, knobs),
        _plausible(exponent, knobs),
        _solved(solution),
        _feasible(solution, knobs),
        _fit_quality(estimate, fixed_alpha_r2, finals),
        _noise(estimate),
        *_position(estimate, solution, finals),
        _interval_width(estimate),
        warmdown_gate([*runs, *baselines], solution.tokens),
    ]
    return tuple(gates)


def _finished_runs(runs: Sequence[RunResult]) -> Gate:
    bad = [f"{run.run_id} {reason}" for run in runs if (reason := unfinished_reason(run))]
    message = f"all {len(runs)} calibration runs finished" if not bad else f"{'; '.join(bad)}. Rerun them."
    return Gate(
        name="finished_runs", passed=not bad, severity="blocking", value=float(len(runs) - len(bad)),
        limit=float(len(runs)), message=message,
    )  # fmt: skip


def _statistics_quality(stats: ExponentStatistics, exponent: Exponent, knobs: InferenceKnobs) -> Gate:
    values = [r2 for r2 in (stats.corr_decay_r2, stats.entropy_decay_r2) if r2 is not None]
    message = "the statistics' fits are of good quality"
    if exponent.low_quality:
        shown = " and ".join(f"{value:.4f}" for value in values) or "unknown"
        used = "their exponent is used all the same" if exponent.source == "stats" and exponent.usable else (
            f"the exponent comes from {exponent.source}"
        )  # fmt: skip
        message = f"a fit of the statistics is weak (R^2 {shown}); {used}. More text or a narrower fit window helps."
    return Gate(
        name="statistics_quality", passed=not exponent.low_quality, severity="warning",
        value=min(values) if values else None, limit=None, message=message,
    )  # fmt: skip


def _plausible(exponent: Exponent, knobs: InferenceKnobs) -> Gate:
    shown = "none" if exponent.alpha is None else f"{exponent.alpha:.4g}"
    bounds = f"{knobs.alpha_min:g} to {knobs.alpha_max:g}"
    if exponent.usable and exponent.source == "stats":
        message = f"the statistics' exponent {shown} lies in {bounds}"
    elif exponent.usable:
        message = f"the exponent {shown} comes from {exponent.source} and is judged by fit and extrapolation"
        if exponent.reason:
            message += f": {exponent.reason}"
    else:
        message = (
            f"{exponent.reason or f'the exponent {shown} can not be used'}. Let the finished runs give the exponent "
            f"(LANE_B_ALPHA_FALLBACK_MODE=calibration), or set LANE_B_ALPHA_OVERRIDE."
        )
    return Gate(
        name="plausible_exponent", passed=exponent.usable, severity="blocking", value=exponent.alpha,
        limit=knobs.alpha_max if (exponent.alpha or 0) > knobs.alpha_max else knobs.alpha_min, message=message,
    )  # fmt: skip


_REMEDIES = {
    "invalid_alpha": "the exponent is not positive; set LANE_B_ALPHA_OVERRIDE or let the finished runs give it",
    "non_positive_A": "the fitted curve does not fall; calibrate at horizons further apart",
    "threshold_not_above_asymptote": "the threshold lies at or below what any horizon reaches; raise "
    "LANE_B_THRESHOLD_OFFSET or calibrate longer",
    "non_finite_target_tokens": "the threshold is out of reach; raise LANE_B_THRESHOLD_OFFSET",
    "extrapolation_beyond_limit": "calibrate at a horizon near the answer",
    "noise_exceeds_spread": "calibrate at horizons further apart, or with more seeds",
}


def _solved(solution: Solution) -> Gate:
    solved = solution.tokens is not None
    message = f"the threshold is reached at {solution.tokens:,.0f} tokens" if solution.tokens is not None else (
        f"no horizon was found ({solution.status}): {_REMEDIES.get(solution.status, 'see the warnings')}"
    )  # fmt: skip
    return Gate(name="solved", passed=solved, severity="blocking", value=solution.tokens, limit=None, message=message)


def _feasible(solution: Solution, knobs: InferenceKnobs) -> Gate:
    within = solution.tokens is not None and solution.tokens <= solution.limit_tokens
    if solution.tokens is None:
        message = "without a horizon the threshold counts as likely unreachable. Calibrate as `solved` says."
    elif within:
        message = f"{solution.tokens:,.0f} tokens are within the limit of {solution.limit_tokens:,.0f}"
    else:
        message = (
            f"{solution.tokens:,.0f} tokens are more than {knobs.unreachable_mult:g} times the default ratio's "
            f"({solution.limit_tokens:,.0f}). Raise the threshold, or allow it with LANE_B_ALLOW_UNREACHABLE=1."
        )
    allowed = solution.tokens is not None and knobs.allow_unreachable
    return Gate(
        name="feasible", passed=within, severity="warning" if allowed else "blocking", value=solution.tokens,
        limit=solution.limit_tokens, message=message,
    )  # fmt: skip


def _fit_quality(estimate: RatioEstimate, fixed_alpha_r2: float, finals: bool) -> Gate:
    r2 = estimate.curve.r2 if finals else fixed_alpha_r2
    rests_on_curve = not finals or not estimate.bracketed
    told = not (finals and estimate.curve.alpha_at_bound)
    good = bool(np.isfinite(r2)) and r2 >= MIN_CURVE_R2 and told
    message = f"the loss curve fits the finals with R^2 {r2:.4f} (limit {MIN_CURVE_R2:g})"
    if not told:
        message += f", but its exponent {estimate.alpha:.3g} is the end of the range it was looked for in"
    if not good:
        message += (
            ". Calibrate at more horizons or seeds." if rests_on_curve else "; the answer is interpolated all the same."
        )
    return Gate(
        name="fit_quality", passed=good, severity="blocking" if rests_on_curve else "warning", value=_known(r2),
        limit=MIN_CURVE_R2, message=message,
    )  # fmt: skip


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _noise(estimate: RatioEstimate) -> Gate:
    passed = estimate.noise_sd < estimate.spread
    noise, seeds = estimate.noise_sd, estimate.seed_sd
    message = f"noise {noise:.3g}, seed effects {seeds:.3g}, spread of the levels {estimate.spread:.3g}"
    if not passed:
        message += ". Calibrate at horizons further apart, or with more seeds."
    return Gate(
        name="noise_below_spread", passed=passed, severity="blocking", value=estimate.noise_sd, limit=estimate.spread,
        message=message,
    )  # fmt: skip


def _position(estimate: RatioEstimate, solution: Solution, finals: bool) -> tuple[Gate, Gate]:
    shortest, longest = estimate.levels[0], estimate.levels[-1]
    factor = estimate.extrapolation_factor
    if not finals and solution.tokens is not None:
        factor = max(1.0, solution.tokens / longest[0], shortest[0] / solution.tokens)
    bracketed = estimate.bracketed and (factor is None or factor <= 1)
    levels = f"{shortest[1]:.6g} at {shortest[0]:,.0f} and {longest[1]:.6g} at {longest[0]:,.0f} tokens"
    message = f"the threshold lies between the levels {levels}"
    if not bracketed:
        message = (
            f"the threshold does not lie between the levels {levels}: the answer is extrapolated. Calibrate beyond it."
        )
    within = factor is not None and factor <= EXTRAPOLATION_LIMIT
    reach = (
        "there is no answer to place" if factor is None else f"the answer lies {factor:.2f} times outside the horizons"
    )
    if factor == 1.0:
        reach = "the answer lies within the horizons"
    if not within:
        reach += f" (limit {EXTRAPOLATION_LIMIT:g}). Calibrate at a horizon near it."
    return (
        Gate(
            name="bracketed",
            passed=bracketed,
            severity="warning",
            value=solution.tokens,
            limit=longest[0],
            message=message,
        ),
        Gate(
            name="extrapolation",
            passed=within,
            severity="blocking",
            value=factor,
            limit=EXTRAPOLATION_LIMIT,
            message=reach,
        ),
    )


def _interval_width(estimate: RatioEstimate) -> Gate:
    width: float | None = None
    if estimate.ratio:
        width = (estimate.ratio_interval[1] - estimate.ratio_interval[0]) / 2 / estimate.ratio
    narrow = width is not None and np.isfinite(width) and width <= MAX_RELATIVE_WIDTH
    low, high = estimate.ratio_interval
    message = f"95 % interval of the ratio {low:.4g} to {high:.4g}"
    if not narrow or estimate.weak:
        message += " (weak). More seeds at each horizon narrow it (LANE_B_CALIB_SEEDS)."
    return Gate(
        name="interval", passed=bool(narrow and not estimate.weak), severity="warning", value=width,
        limit=MAX_RELATIVE_WIDTH, message=message,
    )  # fmt: skip


def warmdown_gate(runs: Sequence[RunResult], tokens: float | None) -> Gate:
    """Whether a run finished at horizon N ends clearly below a longer run's loss at step N, seed by seed.

    The longer run's loss is interpolated in its own validation curve. Where it does not, a longer horizon reaches the
    threshold first, and no shorter candidate can win. Judged at the horizon nearest to `tokens`.
    """
    pairs = warmdown_pairs(runs)
    if not pairs:
        return Gate(
            name="warmdown_pays", passed=False, severity="warning", value=None, limit=None,
            message="no seed has finished runs at two horizons, so it is unknown whether the warmdown pays. "
            "Calibrate one seed at two horizons.",
        )  # fmt: skip
    horizons = sorted({pair.tokens for pair in pairs})
    aim = horizons[0] if tokens is None else tokens
    nearest = min(horizons, key=lambda count: abs(np.log(count / aim)))
    at = [pair for pair in pairs if pair.tokens == nearest]
    gain, limit = median(pair.gain for pair in at), MIN_WARMDOWN_GAIN * median(pair.final for pair in at)
    shown = ", ".join(f"seed {pair.seed}: {pair.final:.4f} against {pair.longer_loss:.4f}" for pair in at)
    side = "below" if gain >= 0 else "above"
    message = (
        f"runs finished at {nearest:,.0f} tokens end {abs(gain):.4f} bpb {side} a longer run at the same step "
        f"({shown}; {limit:.4f} below is needed)"
    )
    if gain < limit:
        message += (
            ". A longer horizon then reaches the threshold first: raise the learning rates (LANE_B_MATRIX_LR, "
            "LANE_B_EMBEDDING_LR), or take smaller batches and more steps."
        )
    return Gate(
        name="warmdown_pays", passed=gain >= limit, severity="warning", value=gain, limit=limit, message=message
    )


@dataclass(frozen=True)
class WarmdownPair:
    """A finished run and the next longer one of its seed."""

    seed: int
    tokens: int
    final: float
    longer_loss: float

    @property
    def gain(self) -> float:
        """Loss that the shorter run is ahead by at its end."""
        return self.longer_loss - self.final


def warmdown_pairs(runs: Sequence[RunResult]) -> list[WarmdownPair]:
    """Each finished run against the next longer one of its seed, shape and schedule, at its last step."""
    by_fingerprint = {run.fingerprint: run for run in runs if not unfinished_reason(run)}
    finished = sorted(by_fingerprint.values(), key=lambda run: (run.steps, run.run_id))
    pairs = []
    for run in finished:
        kind = (run.seed, shape_and_schedule(run))
        longer = [
            other for other in finished if (other.seed, shape_and_schedule(other)) == kind and other.steps > run.steps
        ]
        if not longer or run.final_val_bpb is None:
            continue
        curve = longer[0].val_curve
        steps, losses = [point.step for point in curve], [point.bpb for point in curve]
        if steps[0] <= run.steps:
            at = float(np.interp(run.steps, steps, losses))
            pairs.append(WarmdownPair(run.seed, run.tokens, run.final_val_bpb, at))
    return pairs
