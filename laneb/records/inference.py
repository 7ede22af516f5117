"""What the inference says: the exponent, the loss curve, the horizon and whether candidates may train at it."""

from __future__ import annotations

from typing import Literal

from laneb.records.base import Record, YesNo

AlphaSource = Literal["stats", "calibration", "baseline_assisted", "override"]


ConfirmationRule = Literal["factor", "reach"]


class LeastTimeCost(Record):
    """What it costs to train at another horizon than that of least expected time."""

    off: float
    """Share of the horizon: -0.05 is 5 % shorter."""
    cost: float | None
    """Expected time over the least one, less 1; null where no run of that horizon reaches the threshold."""


class Gate(Record):
    """One named condition on an inference.

    A failed "blocking" gate means that what follows would be wrong, a failed "warning" that it would be weak.
    """

    name: str
    passed: bool
    severity: Literal["blocking", "warning"]
    value: float | None
    limit: float | None
    message: str
    """The finding with its numbers and, where it failed, what to do."""


class SensitivityRow(Record):
    """How the ratio moves when one thing is changed or left out."""

    what: Literal["alpha", "asymptote", "offset", "point", "seed", "estimator"]
    change: str
    ratio: float | None
    relative_change: float | None
    """(ratio - the answer's ratio) / the answer's ratio; null where either is unsolved."""
    status: str


class Inference(Record):
    """infer.json. `calib_*` describe the curve with the exponent held fixed, on the median per horizon."""

    timestamp_utc: str
    dataset_id: str
    tokenizer_id: str

    paper_mapping_id: str
    paper_mapping_notes: str
    inferred_data_scaling_exponent: float | None
    alpha_data_plausible: YesNo
    alpha_source: AlphaSource
    alpha_data_stats_raw: float | None
    alpha_data_stats_raw_plausible: YesNo
    alpha_data_baseline_fallback: float | None
    alpha_fallback_reason: str
    baseline_alpha_fit_median_r2: float | None
    baseline_alpha_fit_num_seeds: int
    stats_fit_low_quality: YesNo
    baseline_required_seeds: tuple[str, ...]

    calib_tokens: tuple[int, ...]
    calib_metrics: tuple[float, ...]
    calib_from_baseline_required_seeds: YesNo
    calib_trend_correlation: float | None
    calib_metric_span: float
    calib_net_improvement: float
    calib_fit_metric_name: str = "target_metric_proxy"
    calib_fit_r2: float | None
    calib_A: float | None
    calib_L_inf: float | None
    calib_L_inf_bound_active: YesNo = False
    calib_L_inf_lower_bound_metric: float | None = None
    calib_L_inf_lower_bound_proxy: float | None = None
    calib_L_inf_lower_bound_source: str = ""
    calib_L_inf_lower_bound_disabled_reason: str = ""
    calib_L_inf_upper_bound_proxy: float | None = None
    calib_L_inf_prior_metric: float | None = None
    calib_L_inf_prior_proxy: float | None = None
    calib_L_inf_prior_weight: float | None = None

    target_metric_threshold: float
    target_metric_direction: str = "lower_is_better"
    target_metric_threshold_proxy: float
    n_scaling_params: int
    inferred_target_tokens: float | None
    inferred_target_param_data_ratio: float | None
    confirmation_ratio: float | None
    feasibility_limit_tokens: float
    feasibility_flag: Literal["feasible", "likely_unreachable"]
    solve_status: str

    solve_method: Literal["finals", "fixed_alpha"]
    fixed_alpha_target_tokens: float | None
    fixed_alpha_target_param_data_ratio: float | None
    fixed_alpha_solve_status: str
    exponent_in_use: float | None = None
    """The exponent that bends the answer: of the finals and, about a given exponent, its prior."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    """95 % interval of `inferred_target_param_data_ratio`; null where the data do not bound it."""
    fixed_alpha_ratio_low: float | None = None
    fixed_alpha_ratio_high: float | None = None

    confirmation_rule: ConfirmationRule = "factor"
    """Where `confirmation_ratio` comes from: 1.05 times the inferred ratio, or `reach_ratio`."""
    reach_probability: float | None = None
    reach_tokens: float | None = None
    reach_ratio: float | None = None
    """From here on a run of a new seed reaches the threshold so probably; null where the finals don't say."""
    reach_ratio_interval: tuple[float | None, float | None] | None = None
    """95 % interval of it; an end is null where the data do not bound it."""
    inferred_reach_probability: float | None = None
    confirmation_reach_probability: float | None = None
    """How likely a run of a new seed reaches the threshold at the inferred and the confirmation ratio."""
    least_time_tokens: float | None = None
    least_time_ratio: float | None = None
    """Where the expected time to the threshold is least, runs that miss it and the runs after them included."""
    least_time_expected_tokens: float | None = None
    least_time_reach_probability: float | None = None
    least_time_costs: tuple[LeastTimeCost, ...] = ()

    finals_target_tokens: float | None
    finals_target_param_data_ratio: float | None
    finals_ratio_low: float | None
    finals_ratio_high: float | None
    """95 % interval of `finals_target_param_data_ratio`; null where the data do not bound it."""
    finals_goal: float | None = None
    """The loss that the finals are solved for [bpb]: the threshold, or that at the baselines' horizon plus offset."""
    finals_baseline_tokens: float | None = None
    """The baselines' horizon, where the loss there is what the offset stands on; null for a fixed threshold."""
    finals_interval_method: str
    finals_interval_weak: bool
    finals_alpha: float | None
    """With `finals_amplitude` and `finals_asymptote` the curve in use: its exponent is the finals' and a prior's."""
    finals_alpha_low: float | None
    finals_alpha_high: float | None
    """95 % interval of the finals' own exponent, without a prior."""
    finals_amplitude: float | None
    finals_asymptote: float | None
    finals_r2: float | None
    finals_noise_sd: float | None
    finals_seed_sd: float | None
    finals_solve_status: str
    bracketed: bool
    extrapolation_factor: float | None
    """How far the answer lies outside the calibrated horizons: 1 inside."""

    promotable: bool
    """No blocking gate failed: candidates train at the answer. Else a fallback run does."""
    warnings: tuple[str, ...]
    gates: tuple[Gate, ...]
    sensitivity: tuple[SensitivityRow, ...]
