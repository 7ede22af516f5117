"""The whole inference: exponent, solution, gates, sensitivity."""

from __future__ import annotations

import json

import numpy as np
import pytest
from simulated_lanes import BATCH, KNOWN_LOSSES, KNOWN_TOKENS, loss_at, run, scaling, statistics

from laneb.inference import calibration_from, infer
from laneb.inference.gates import GATE_NAMES, warmdown_gate
from laneb.inference.warmdown import measure_warmdown
from laneb.knobs import InferenceKnobs
from laneb.records.calibration import Calibration, CalibrationPoint
from laneb.records.inference import Inference

RUNS = [run(steps, seed) for steps in (750, 1500, 2250) for seed in (41, 42, 43)]


def infer_with(stats=None, runs=RUNS, threshold=None, baselines=(), default_ratio=10.5, **knobs) -> Inference:
    return infer(
        stats=stats or statistics(), calibration=calibration_from(runs), threshold=threshold or loss_at(1800),
        scaling=scaling(), baselines=list(baselines), runs=runs, inference=InferenceKnobs(**knobs),
        default_ratio=default_ratio, required_seeds=[41, 42, 43],
    )  # fmt: skip


def gate(record: Inference, name: str):
    return next(gate for gate in record.gates if gate.name == name)


def test_a_good_lane_is_promotable_with_the_ratio_of_its_finals() -> None:
    record = infer_with()
    assert record.promotable
    assert record.alpha_source == "stats"
    assert record.inferred_data_scaling_exponent == 0.5
    assert record.inferred_target_param_data_ratio == pytest.approx(1800 * BATCH / 110_101_632, rel=5e-3)
    assert record.confirmation_ratio == pytest.approx(1.05 * record.inferred_target_param_data_ratio)
    assert record.feasibility_limit_tokens == 10 * 10.5 * 110_101_632
    assert (record.solve_status, record.feasibility_flag, record.bracketed) == ("ok", "feasible", True)
    assert [entry.name for entry in record.gates] == list(GATE_NAMES)


def test_the_file_spells_flags_yes_and_no_and_holds_no_nan() -> None:
    record = infer_with()
    written = json.loads(record.to_json())
    assert written["alpha_data_plausible"] == "yes"
    assert written["stats_fit_low_quality"] == "no"
    assert written["calib_fit_metric_name"] == "target_metric_proxy"
    assert Inference.from_json(record.to_json()) == record


def known_calibration() -> Calibration:
    points = tuple(
        CalibrationPoint(run_id=f"run_{tokens}", seed=42, horizon_tokens=tokens, tokens=tokens, loss=loss)
        for tokens, loss in zip(KNOWN_TOKENS, KNOWN_LOSSES, strict=True)
    )
    return Calibration(
        timestamp_utc="", iterations=tuple(range(100, 1600, 100)), total_batch_size=BATCH,
        calib_tokens=tuple(KNOWN_TOKENS), calib_metrics=tuple(KNOWN_LOSSES), calib_tokens_csv="", calib_metrics_csv="",
        mode="finished_runs", baseline_required_seeds=(), points=points,
    )  # fmt: skip


def test_the_closed_form_gives_the_known_values_under_their_keys() -> None:
    record = infer(
        stats=statistics(), calibration=known_calibration(), threshold=0.925622, scaling=scaling(), baselines=[],
        runs=[], inference=InferenceKnobs(alpha_override=0.68, solve_method="fixed_alpha"), default_ratio=10.5,
        required_seeds=[],
    )  # fmt: skip
    assert record.calib_A == pytest.approx(97635.829, abs=5e-4)
    assert record.calib_L_inf == pytest.approx(0.854178, abs=5e-7)
    assert record.calib_fit_r2 == pytest.approx(0.991196, abs=5e-7)
    assert record.inferred_target_tokens == pytest.approx(1_054_399_890, abs=0.5)
    assert record.inferred_target_param_data_ratio == pytest.approx(9.576605, abs=5e-7)
    assert record.confirmation_ratio == pytest.approx(10.055436, abs=5e-7)
    assert (record.alpha_source, record.paper_mapping_id) == ("override", "alpha_override")
    assert record.feasibility_flag == "feasible"


def test_the_interval_is_that_of_the_solution_in_use() -> None:
    """The finals answer 12.38 (11.9 to 12.8) here, the closed form 11.85 (11.3 to 13.0)."""
    for method in ("finals", "fixed_alpha"):
        record = infer_with(runs=SCATTERED, threshold=loss_at(2600), alpha_override=0.15, solve_method=method)
        assert record.ratio_low < record.inferred_target_param_data_ratio < record.ratio_high
        assert record.finals_ratio_low < record.finals_target_param_data_ratio < record.finals_ratio_high
        assert record.fixed_alpha_ratio_low < record.fixed_alpha_target_param_data_ratio < record.fixed_alpha_ratio_high
        in_use = record.finals_ratio_low if method == "finals" else record.fixed_alpha_ratio_low
        assert record.ratio_low == in_use
    assert record.finals_ratio_low > record.fixed_alpha_target_param_data_ratio
    assert record.exponent_in_use == 0.15


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [("paper_v1", 0.6 / 1.6), ("corr_only_v1", 0.8), ("entropy_only_v1", 0.6), ("weighted_mean_v1", 0.65)],
)
def test_each_mapping_gives_its_exponent(mapping: str, expected: float) -> None:
    stats = statistics(correlation=0.8, entropy=0.6)
    record = infer_with(stats, paper_mapping_id=mapping, corr_weight=1.0, entropy_weight=3.0)
    assert record.alpha_data_stats_raw == pytest.approx(expected)
    assert record.paper_mapping_id == mapping


@pytest.mark.parametrize("stats", [statistics(entropy=5.0), statistics(weak=True), statistics(entropy=None)])
def test_statistics_that_are_implausible_weak_or_missing_fall_back_on_the_finals(stats) -> None:
    record = infer_with(stats)
    assert record.alpha_source == "calibration"
    assert record.inferred_data_scaling_exponent == pytest.approx(0.4, rel=1e-4)
    assert record.alpha_fallback_reason
    assert record.promotable


def test_finals_that_would_have_a_negative_asymptote_give_the_exponent_with_none() -> None:
    """Runs so short that loss falls along a logarithm: the best curve would end at minus infinity."""
    runs = [run(steps, seed, final=5.5 - 0.9 * k) for k, steps in enumerate((750, 1500, 3000)) for seed in (41, 42)]
    record = infer_with(statistics(weak=True), runs=runs, threshold=4.2)
    assert 0.1 < record.inferred_data_scaling_exponent < 1
    assert abs(record.calib_L_inf) < 0.1
    assert "L_inf held at 0" in record.alpha_fallback_reason
    assert record.promotable


def test_the_same_seed_and_horizon_twice_does_not_keep_the_finals_from_giving_the_exponent() -> None:
    again = [run(1500, seed, run_id=f"b{seed}", fingerprint=f"b{seed}") for seed in (41, 42)]
    record = infer_with(statistics(weak=True), runs=[*RUNS, *again])
    assert record.inferred_data_scaling_exponent == pytest.approx(0.4, rel=1e-4)


def test_two_horizons_leave_the_exponent_assumed() -> None:
    record = infer_with(statistics(weak=True), runs=[run(steps, 41) for steps in (1500, 2250)])
    assert record.inferred_data_scaling_exponent == 0.5
    assert "assumed" in record.alpha_fallback_reason


def test_statistics_without_a_usable_entropy_count_as_weak_whatever_their_fit() -> None:
    stats = statistics()
    stats.entropy_usable_fit = None
    record = infer_with(stats)
    assert (record.alpha_source, record.stats_fit_low_quality) == ("calibration", True)
    assert "entropy_usable_fit" in gate(record, "statistics_quality").message
    assert infer_with(stats, allow_low_quality_stats=True).alpha_source == "stats"
    assert infer_with(stats, paper_mapping_id="corr_only_v1").alpha_source == "stats"


def test_the_record_holds_the_exponent_that_bends_the_answer() -> None:
    """Statistics say 0.7; the finals say 0.4, and have the say where three horizons tell it."""
    record = infer_with(statistics(correlation=0.5, entropy=0.7))
    assert record.inferred_data_scaling_exponent == 0.7
    assert record.exponent_in_use == pytest.approx(0.4, abs=1e-3)


def test_an_exponent_that_the_finals_contradict_does_not_set_an_extrapolated_answer() -> None:
    noise = np.random.default_rng(0)
    seeds = {seed: noise.normal(0, 1.34e-3) for seed in (41, 42, 43)}
    runs = [
        run(steps, seed, final=loss_at(steps) + effect + noise.normal(0, 0.32e-3))
        for steps in (750, 1500, 2250, 3000) for seed, effect in seeds.items()
    ]  # fmt: skip
    stats = statistics(correlation=0.5, entropy=0.7)
    by_finals = infer_with(stats, runs=runs, threshold=loss_at(3700))
    truth = 3700 * BATCH / 110_101_632
    assert by_finals.ratio_low < truth < by_finals.ratio_high
    assert by_finals.promotable
    held = infer_with(stats, runs=runs, threshold=loss_at(3700), solve_method="fixed_alpha")
    assert not gate(held, "fit_quality").passed
    assert not held.promotable


def test_a_computed_threshold_is_solved_above_the_baselines_own_level() -> None:
    shifts = {41: 0.004, 42: -0.001, 43: -0.0005}
    runs = [run(steps, seed, final=loss_at(steps) + shifts[seed]) for steps in (750, 1500, 2250) for seed in shifts]
    baselines = [one for one in runs if one.steps == 2250]
    offset = loss_at(1800) - loss_at(2250)
    record = infer(
        stats=statistics(), calibration=calibration_from(runs, baselines=baselines), runs=runs, baselines=baselines,
        threshold=loss_at(2250) - 0.0005 + offset, threshold_offset=offset, scaling=scaling(),
        inference=InferenceKnobs(), default_ratio=10.5, required_seeds=[41, 42, 43],
    )  # fmt: skip
    assert record.inferred_target_param_data_ratio == pytest.approx(1800 * BATCH / 110_101_632, rel=1e-4)
    assert record.finals_baseline_tokens == 2250 * BATCH
    assert record.finals_interval_method == "t_inversion_contrast"
    assert record.finals_goal > record.target_metric_threshold


def test_a_larger_offset_above_the_baselines_takes_a_shorter_horizon_in_the_sensitivity_table() -> None:
    baselines = [one for one in SCATTERED if one.steps == 2250]
    offset = loss_at(1800) - loss_at(2250)
    record = infer(
        stats=statistics(), calibration=calibration_from(SCATTERED, baselines=baselines), runs=SCATTERED,
        baselines=baselines, threshold=loss_at(1800), threshold_offset=offset, scaling=scaling(),
        inference=InferenceKnobs(), default_ratio=10.5, required_seeds=[41, 42, 43],
    )  # fmt: skip
    by_offset = [row.ratio for row in record.sensitivity if row.what == "offset" and row.ratio]
    assert by_offset == sorted(by_offset, reverse=True)
    assert len(by_offset) >= 3
    by_alpha = [row.relative_change for row in record.sensitivity if row.what == "alpha"]
    assert by_alpha[1] * by_alpha[2] < 0
    assert abs(by_alpha[0]) > abs(by_alpha[1])


def test_baselines_that_are_no_points_leave_the_threshold_exact_and_say_so() -> None:
    record = infer(
        stats=statistics(), calibration=calibration_from(RUNS), runs=RUNS, threshold=loss_at(1800),
        baselines=[run(2000, seed, run_id=f"b{seed}", fingerprint=f"b{seed}") for seed in (41, 42, 43)],
        threshold_offset=0.02, scaling=scaling(), inference=InferenceKnobs(), default_ratio=10.5,
        required_seeds=[41, 42, 43],
    )  # fmt: skip
    assert record.finals_baseline_tokens is None
    assert any("taken as exact" in warning for warning in record.warnings)


def test_mode_none_is_not_promotable_on_weak_statistics() -> None:
    record = infer_with(statistics(weak=True), alpha_fallback_mode="none")
    assert not record.promotable
    assert not gate(record, "plausible_exponent").passed
    assert "LANE_B_ALPHA_FALLBACK_MODE=calibration" in gate(record, "plausible_exponent").message


def test_weak_statistics_are_used_where_that_is_allowed() -> None:
    record = infer_with(statistics(weak=True), allow_low_quality_stats=True)
    assert (record.alpha_source, record.promotable) == ("stats", True)


def test_baseline_assisted_searches_the_baselines_own_curves() -> None:
    baselines = [run(1500, seed, trunk_excess=0.0, run_id=f"b{seed}", fingerprint=f"b{seed}") for seed in (41, 42, 43)]
    record = infer_with(statistics(weak=True), baselines=baselines, alpha_fallback_mode="baseline_assisted")
    assert (record.alpha_source, record.paper_mapping_id) == ("baseline_assisted", "baseline_assisted")
    assert record.alpha_data_baseline_fallback == pytest.approx(0.4)
    assert record.baseline_alpha_fit_median_r2 == pytest.approx(1.0)
    assert record.baseline_alpha_fit_num_seeds == 3
    assert record.stats_fit_low_quality
    assert "within-run" in gate(record, "statistics_quality").message


def test_baselines_that_fit_badly_give_no_exponent() -> None:
    record = infer_with(statistics(weak=True), alpha_fallback_mode="baseline_assisted")
    assert not record.promotable
    assert "0 seed(s)" in record.alpha_fallback_reason


def test_an_override_outside_the_plausible_range_is_judged_by_fit_and_extrapolation() -> None:
    record = infer_with(alpha_override=1.1)
    assert record.promotable
    assert not record.alpha_data_plausible


def test_an_unsolved_lane_has_nulls_and_is_likely_unreachable() -> None:
    record = infer_with(threshold=0.5)
    assert (record.inferred_target_tokens, record.inferred_target_param_data_ratio) == (None, None)
    assert record.confirmation_ratio is None
    assert (record.solve_status, record.feasibility_flag) == ("threshold_not_above_asymptote", "likely_unreachable")
    assert not record.promotable


def test_beyond_the_feasible_limit_candidates_train_only_if_allowed() -> None:
    strict = infer_with(default_ratio=0.5, unreachable_mult=10.0)
    assert (strict.feasibility_flag, strict.promotable) == ("likely_unreachable", False)
    assert infer_with(default_ratio=0.5, allow_unreachable=True).promotable


def test_far_extrapolation_blocks_and_near_extrapolation_warns() -> None:
    far, near = infer_with(threshold=loss_at(4500)), infer_with(threshold=loss_at(2600))
    assert not far.promotable
    assert not gate(far, "extrapolation").passed
    assert near.promotable
    assert not gate(near, "bracketed").passed


def test_the_warmdown_gate_compares_a_finished_run_with_a_longer_one_at_its_step() -> None:
    pays = gate(infer_with(), "warmdown_pays")
    assert pays.passed
    assert pays.value > 0.02
    flat = [run(steps, 42, trunk_excess=0.0) for steps in (750, 1500, 2250)]
    fails = warmdown_gate(flat, 1800 * BATCH)
    assert not fails.passed
    assert fails.value == pytest.approx(0.0, abs=1e-3)
    assert "LANE_B_MATRIX_LR" in fails.message


def test_the_warmdown_is_judged_at_the_horizon_nearest_the_answer_and_at_the_shortest_without_one() -> None:
    assert measure_warmdown(RUNS, 1800 * BATCH).tokens == 1500 * BATCH
    assert measure_warmdown(RUNS, None).tokens == 750 * BATCH
    late = run(1500, 41)
    late = late.model_copy(update={"val_curve": late.val_curve[5:]})
    assert measure_warmdown([run(750, 41), late], None) is None


def test_the_warmdown_gate_says_when_nothing_can_be_compared() -> None:
    lonely = warmdown_gate([run(750, 41), run(1500, 42)], None)
    assert not lonely.passed
    assert "no seed" in lonely.message


def test_a_failed_gate_carries_its_numbers_and_a_remedy() -> None:
    for entry in infer_with(threshold=loss_at(4500)).gates:
        assert entry.message
        if not entry.passed:
            assert any(word in entry.message for word in ("Calibrate", "calibrate", "LANE_B_", "More"))


SCATTER = {41: 1.2e-3, 42: -0.5e-3, 43: -0.7e-3}
SCATTERED = [run(steps, seed, final=loss_at(steps) + SCATTER[seed]) for steps in (750, 1500, 2250) for seed in SCATTER]


def test_the_record_says_how_likely_a_new_run_reaches_the_threshold() -> None:
    record = infer_with(runs=SCATTERED)
    assert record.reach_probability == 0.9
    assert record.inferred_reach_probability == pytest.approx(0.5, abs=1e-6)
    assert record.confirmation_reach_probability > 0.9
    assert record.inferred_target_param_data_ratio < record.reach_ratio < record.confirmation_ratio
    assert record.reach_ratio_interval[0] < record.reach_ratio < record.reach_ratio_interval[1]
    assert record.reach_tokens == pytest.approx(record.reach_ratio * 110_101_632)
    assert record.reach_ratio < infer_with(runs=SCATTERED, reach_probability=0.95).reach_ratio
    assert record.inferred_target_param_data_ratio < record.least_time_ratio
    assert [row.off for row in record.least_time_costs] == [-0.05, -0.03, -0.01, 0.01, 0.03, 0.05]


def test_the_confirmation_follows_its_rule() -> None:
    by_factor, by_reach = infer_with(runs=SCATTERED), infer_with(runs=SCATTERED, confirmation_rule="reach")
    assert (by_factor.confirmation_rule, by_reach.confirmation_rule) == ("factor", "reach")
    assert by_factor.confirmation_ratio == pytest.approx(1.05 * by_factor.inferred_target_param_data_ratio)
    assert by_reach.confirmation_ratio == by_reach.reach_ratio
    assert by_reach.confirmation_reach_probability == pytest.approx(0.9, abs=1e-3)


def test_a_reach_that_lies_too_far_out_leaves_the_confirmation_at_the_factor_and_says_so() -> None:
    record = infer_with(runs=SCATTERED, threshold=loss_at(3340), confirmation_rule="reach", reach_probability=0.99)
    assert record.reach_ratio is None
    assert record.confirmation_rule == "factor"
    assert record.confirmation_ratio == pytest.approx(1.05 * record.inferred_target_param_data_ratio)
    assert any("no horizon near" in warning for warning in record.warnings)


def test_the_sensitivity_table_moves_everything_that_the_ratio_rests_on() -> None:
    record = infer_with()
    assert {row.what for row in record.sensitivity} == {"alpha", "asymptote", "offset", "point", "seed", "estimator"}
    by_offset = [row.ratio for row in record.sensitivity if row.what == "offset"]
    assert by_offset == sorted(by_offset, reverse=True)
    assert sum(row.what == "point" for row in record.sensitivity) == len(RUNS)
    assert sum(row.what == "seed" for row in record.sensitivity) == 3


def test_the_content_hash_does_not_depend_on_the_time() -> None:
    record = infer_with()
    later = record.model_copy(update={"timestamp_utc": "2030-01-01T00:00:00Z"})
    assert later.content_hash() == record.content_hash()


def test_a_ratio_that_is_nearly_the_baselines_own_says_what_can_be_won() -> None:
    baselines = [run(1810, seed, run_id=f"b{seed}", fingerprint=f"b{seed}") for seed in (41, 42, 43)]
    assert any("LANE_B_THRESHOLD_OFFSET" in warning for warning in infer_with(baselines=baselines).warnings)


def test_runs_of_another_schedule_are_not_compared_by_the_warmdown_gate() -> None:
    assert not warmdown_gate([run(750, 41), run(1500, 41, warmdown_ratio=0.2)], None).passed


def test_without_a_measured_noise_the_record_has_no_interval_no_probability_and_a_gate_that_says_so() -> None:
    alone = [run(steps, 42, final=loss_at(steps) + 1e-3) for steps in (750, 1500, 2250)]
    for knobs in ({}, {"solve_method": "fixed_alpha"}):
        record = infer_with(runs=alone, confirmation_rule="reach", **knobs)
        assert record.promotable
        assert record.inferred_target_param_data_ratio is not None
        assert (record.ratio_low, record.ratio_high, record.finals_ratio_low, record.finals_ratio_high) == (None,) * 4
        assert (record.fixed_alpha_ratio_low, record.fixed_alpha_ratio_high) == (None, None)
        assert (record.reach_ratio, record.reach_ratio_interval, record.least_time_ratio) == (None, None, None)
        assert (record.inferred_reach_probability, record.confirmation_reach_probability) == (None, None)
        assert (record.finals_interval_method, record.finals_interval_weak) == ("none", True)
        found = gate(record, "interval")
        assert (found.passed, found.severity, found.value) == (False, "warning", None)
        assert found.message.startswith(
            "no interval: the finals do not bound the ratio, or do not measure their own scatter. "
        )
        # What a new run will do is not known, so it can't decide the confirmation.
        assert record.confirmation_rule == "factor"
        assert any("nothing measures how runs scatter, so the confirmation" in warning for warning in record.warnings)
