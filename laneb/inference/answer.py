"""The whole inference of a lane: statistics, calibration points and threshold in, infer.json out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from laneb.inference.calibration import finals_of
from laneb.inference.exponent import Exponent, ExponentStatistics, choose_exponent
from laneb.inference.gates import judge_gates
from laneb.inference.least_time import LeastTime, least_expected_time
from laneb.inference.loss_curve import LossCurve, fit_loss_curve, trend_correlation
from laneb.inference.ratio import RatioEstimate, infer_ratio
from laneb.inference.reach import Reach
from laneb.inference.sensitivity import sensitivity_table
from laneb.inference.solution import Solution, solution_at_fixed_alpha, solution_of_finals
from laneb.knobs import InferenceKnobs
from laneb.records.base import utc_now
from laneb.records.calibration import Calibration
from laneb.records.inference import ConfirmationRule, Inference, LeastTimeCost
from laneb.records.runs import RunResult
from laneb.records.scaling import ScalingParams

CONFIRMATION_FACTOR = 1.05
"""A horizon this much longer mostly reaches the threshold, and crosses it hardly later."""

LITTLE_TO_WIN = 0.03
"""A ratio this close below the baselines' own leaves less to win than the confirmation run adds."""

NO_ASYMPTOTE_BOUND = (
    "none: the statistics' h_inf is in bits per token and the loss in bits per byte, so one can not bound the other"
)


def infer(
    *,
    stats: ExponentStatistics,
    calibration: Calibration,
    threshold: float,
    scaling: ScalingParams,
    baselines: Sequence[RunResult],
    runs: Sequence[RunResult],
    inference: InferenceKnobs,
    default_ratio: float,
    required_seeds: Sequence[int],
    threshold_offset: float | None = None,
) -> Inference:
    """From statistics and finished runs to the ratio that candidates train at, with the gates that it passed.

    Args:
        stats: the dataset's statistics.
        calibration: the finals of the finished runs.
        threshold: validation bpb to reach.
        scaling: the model's scaling parameters.
        baselines: baseline runs: for the baseline-assisted exponent and the warmdown gate.
        runs: calibration runs, whose curves show whether the warmdown pays.
        inference: the knobs.
        default_ratio: tokens per scaling parameter of a fallback run; sets the feasibility limit.
        required_seeds: baseline seeds that count.
        threshold_offset: where `threshold` is the median of the baselines plus this [bpb], and not an explicit one: the
            horizon is then the one whose loss lies so far above the baselines' own, in which seed effects cancel.

    Returns:
        The record of infer.json; `promotable` says whether candidates may train at its ratio.

    Raises:
        ValueError: calibration points that no curve can be drawn through; the message says which and why.
    """
    exponent = choose_exponent(stats, inference, calibration, baselines, required_seeds)
    points = finals_of(calibration)
    n_scaling = scaling.n_scaling_params
    given = None if exponent.free or exponent.alpha is None or exponent.alpha <= 0 else exponent.alpha
    baseline_tokens = None if threshold_offset is None else baseline_horizon(calibration, baselines, required_seeds)
    estimate = infer_ratio(
        points, threshold=threshold, n_scaling_params=n_scaling, alpha=given, baseline_tokens=baseline_tokens,
        offset=0.0 if threshold_offset is None or baseline_tokens is None else threshold_offset,
    )  # fmt: skip
    alpha = exponent.alpha if exponent.alpha is not None else estimate.alpha
    fixed = fit_loss_curve(calibration.calib_tokens, calibration.calib_metrics, alpha=alpha)
    finals, closed = solution_of_finals(estimate), solution_at_fixed_alpha(estimate, fixed)
    solution = finals if inference.solve_method == "finals" else closed
    limit = inference.unreachable_mult * default_ratio * n_scaling
    gates = judge_gates(
        stats=stats, exponent=exponent, estimate=estimate, solution=solution, limit_tokens=limit, knobs=inference,
        runs=runs, baselines=baselines,
    )  # fmt: skip
    ratio = None if solution.tokens is None else solution.tokens / n_scaling
    reach = estimate.reach(inference.reach_probability)
    confirmation = _confirm(ratio, reach, estimate, inference)
    least = least_expected_time(estimate.lane, [*runs, *joined_baselines(calibration, baselines)])
    feasible = solution.tokens is not None and solution.tokens <= limit
    return Inference(
        timestamp_utc=utc_now(),
        dataset_id=stats.dataset_id,
        tokenizer_id=stats.tokenizer_id,
        paper_mapping_notes=inference.paper_mapping_notes,
        baseline_required_seeds=tuple(str(seed) for seed in required_seeds),
        target_metric_threshold=threshold,
        target_metric_threshold_proxy=threshold,
        n_scaling_params=n_scaling,
        inferred_target_tokens=solution.tokens,
        inferred_target_param_data_ratio=ratio,
        confirmation_ratio=confirmation.ratio,
        confirmation_rule=confirmation.rule,
        feasibility_limit_tokens=limit,
        feasibility_flag="feasible" if feasible else "likely_unreachable",
        solve_status=solution.status,
        solve_method=inference.solve_method,
        exponent_in_use=_known(solution.exponent),
        promotable=ratio is not None and not any(gate.severity == "blocking" and not gate.passed for gate in gates),
        warnings=_all_warnings(
            estimate,
            fixed,
            ratio,
            confirmation,
            calibration,
            baselines,
            unanchored=threshold_offset is not None and not baseline_tokens,
        ),
        gates=gates,
        sensitivity=sensitivity_table(points, estimate),
        **_exponent_fields(exponent),
        **_calibration_fields(calibration, fixed),
        **_finals_fields(estimate),
        **_reach_fields(estimate, reach, ratio, confirmation.ratio),
        **_least_time_fields(estimate, least),
        **_interval_fields("", solution, n_scaling),
        **_interval_fields("fixed_alpha_", closed, n_scaling),
        fixed_alpha_target_tokens=closed.tokens,
        fixed_alpha_target_param_data_ratio=None if closed.tokens is None else closed.tokens / n_scaling,
        fixed_alpha_solve_status=closed.status,
    )


def baseline_horizon(
    calibration: Calibration, baselines: Sequence[RunResult], required_seeds: Sequence[int]
) -> int | None:
    """The one horizon [tokens] of the baselines behind the threshold; None where not all of them are points of it."""
    own = [run for run in joined_baselines(calibration, baselines) if run.seed in required_seeds]
    horizons = {run.tokens for run in own}
    return horizons.pop() if {run.seed for run in own} == set(required_seeds) and len(horizons) == 1 else None


def _exponent_fields(exponent: Exponent) -> dict[str, object]:
    return {
        "paper_mapping_id": exponent.mapping_id,
        "inferred_data_scaling_exponent": exponent.alpha,
        "alpha_data_plausible": exponent.plausible,
        "alpha_source": exponent.source,
        "alpha_data_stats_raw": exponent.raw,
        "alpha_data_stats_raw_plausible": exponent.raw_plausible,
        "alpha_data_baseline_fallback": exponent.baseline_alpha,
        "alpha_fallback_reason": exponent.reason,
        "baseline_alpha_fit_median_r2": exponent.baseline_median_r2,
        "baseline_alpha_fit_num_seeds": exponent.baseline_seeds,
        "stats_fit_low_quality": exponent.low_quality,
    }


def _calibration_fields(calibration: Calibration, fixed: LossCurve) -> dict[str, object]:
    metrics = np.asarray(calibration.calib_metrics, dtype=float)
    return {
        "calib_tokens": calibration.calib_tokens,
        "calib_metrics": calibration.calib_metrics,
        "calib_from_baseline_required_seeds": calibration.mode == "finished_runs_and_baselines",
        "calib_trend_correlation": trend_correlation(np.asarray(calibration.calib_tokens, dtype=float), metrics),
        "calib_metric_span": float(metrics.max() - metrics.min()),
        "calib_net_improvement": float(metrics[0] - metrics[-1]),
        "calib_fit_r2": _known(fixed.r2),
        "calib_A": _known(fixed.amplitude),
        "calib_L_inf": _known(fixed.asymptote),
        "calib_L_inf_lower_bound_disabled_reason": NO_ASYMPTOTE_BOUND,
    }


def _finals_fields(estimate: RatioEstimate) -> dict[str, object]:
    low, high = _ends(estimate.ratio_interval, 1)
    return {
        "finals_target_tokens": estimate.tokens,
        "finals_target_param_data_ratio": estimate.ratio,
        "finals_goal": estimate.goal,
        "finals_baseline_tokens": estimate.lane.target.baseline_tokens,
        "finals_ratio_low": low,
        "finals_ratio_high": high,
        "finals_interval_method": estimate.interval_method,
        "finals_interval_weak": estimate.weak,
        "finals_alpha": estimate.curve.alpha,
        "finals_alpha_low": _known(estimate.own_alpha_interval[0]),
        "finals_alpha_high": _known(estimate.own_alpha_interval[1]),
        "finals_amplitude": _known(estimate.curve.amplitude),
        "finals_asymptote": _known(estimate.curve.asymptote),
        "finals_r2": _known(estimate.curve.r2),
        "finals_noise_sd": _known(estimate.noise_sd),
        "finals_seed_sd": _known(estimate.seed_sd),
        "finals_solve_status": estimate.status,
        "bracketed": estimate.bracketed,
        "extrapolation_factor": estimate.extrapolation_factor,
    }


def _interval_fields(prefix: str, solution: Solution, n_scaling: int) -> dict[str, object]:
    low, high = _ends(solution.interval, n_scaling)
    return {f"{prefix}ratio_low": low, f"{prefix}ratio_high": high}


def _reach_fields(
    estimate: RatioEstimate, reach: Reach, ratio: float | None, confirmation: float | None
) -> dict[str, object]:
    found = reach.tokens is not None
    interval = _ends(reach.interval, estimate.n_scaling_params)
    return {
        "reach_probability": reach.probability,
        "reach_tokens": reach.tokens,
        "reach_ratio": None if reach.tokens is None else reach.tokens / estimate.n_scaling_params,
        "reach_ratio_interval": interval if found else None,
        "inferred_reach_probability": None if ratio is None else estimate.reach_probability(ratio),
        "confirmation_reach_probability": None if confirmation is None else estimate.reach_probability(confirmation),
    }


def _least_time_fields(estimate: RatioEstimate, least: LeastTime | None) -> dict[str, object]:
    if least is None:
        return {}
    ratio = least.tokens / estimate.n_scaling_params
    return {
        "least_time_reach_probability": estimate.reach_probability(ratio),
        "least_time_tokens": least.tokens,
        "least_time_ratio": ratio,
        "least_time_expected_tokens": least.expected,
        "least_time_costs": tuple(LeastTimeCost(off=off, cost=_known(cost)) for off, cost in least.costs),
    }


@dataclass(frozen=True)
class Confirmation:
    """The ratio that confirms, and the rule that it comes from."""

    ratio: float | None
    rule: ConfirmationRule
    warning: str = ""


def _confirm(ratio: float | None, reach: Reach, estimate: RatioEstimate, knobs: InferenceKnobs) -> Confirmation:
    """1.05 times the inferred ratio; or, by LANE_B_CONFIRMATION_RULE=reach, the one that a new run reaches."""
    by_factor = None if ratio is None else CONFIRMATION_FACTOR * ratio
    if knobs.confirmation_rule == "factor" or ratio is None:
        return Confirmation(by_factor, knobs.confirmation_rule)
    if reach.tokens is None:
        why = (
            f"no horizon near the calibrated ones lets a new run reach the threshold with probability "
            f"{reach.probability:g}"
            if estimate.lane.levels.spreads_measured
            else "nothing measures how runs scatter"
        )
        return Confirmation(
            by_factor, "factor", f"{why}, so the confirmation trains at {CONFIRMATION_FACTOR:g} times the ratio"
        )
    return Confirmation(reach.tokens / estimate.n_scaling_params, "reach")


def joined_baselines(calibration: Calibration, baselines: Sequence[RunResult]) -> list[RunResult]:
    """The baselines whose finals are points of the curve."""
    points = {(point.seed, point.tokens) for point in calibration.points}
    return [run for run in baselines if (run.seed, run.tokens) in points]


def _ends(interval: tuple[float, float], unit: float) -> tuple[float | None, float | None]:
    """An interval's ends, null where it is open upwards; both where nothing bounds it, or there is no answer."""
    low, high = interval
    return (None, None) if (low, high) == (0.0, math.inf) else (low / unit, _known(high / unit))


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _all_warnings(
    estimate: RatioEstimate,
    fixed: LossCurve,
    ratio: float | None,
    confirmation: Confirmation,
    calibration: Calibration,
    baselines: Sequence[RunResult],
    *,
    unanchored: bool,
) -> tuple[str, ...]:
    found = [*calibration.warnings, *estimate.warnings]
    if unanchored:
        found.append(
            "not every baseline that the threshold comes from is a point of the loss curve at one horizon, so the "
            "threshold is taken as exact: its own scatter is not in the interval"
        )
    if confirmation.warning:
        found.append(confirmation.warning)
    own = [run.realised_ratio for run in baselines if run.status == "ok"]
    if ratio is not None and own and (1 - LITTLE_TO_WIN) * median(own) <= ratio <= median(own):
        found.append(
            f"the inferred ratio {ratio:.4g} is within {LITTLE_TO_WIN:.0%} of the baselines' own {median(own):.4g}, so "
            f"candidates can hardly win more: the threshold's offset decides the ratio. Raise LANE_B_THRESHOLD_OFFSET."
        )
    if fixed.asymptote < -0.01 * estimate.levels[0][1]:
        found.append(f"at a fixed exponent the asymptote is negative ({fixed.asymptote:.4g} bpb), which no text has")
    return tuple(dict.fromkeys(found))
