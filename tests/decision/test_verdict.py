"""The verdict on candidates against baselines."""

from __future__ import annotations

import pytest
from decided_runs import BASELINE, BATCH, N_SCALING, arm, run, verdict
from hypothesis import given, settings
from hypothesis import strategies as st

from laneb.decision import judge
from laneb.knobs import CandidateKnobs
from laneb.records.verdict import Verdict


def test_a_sure_gain_on_every_seed_is_accepted_with_its_numbers() -> None:
    answer = verdict({"inferred": {41: 150.0, 42: 153.0, 43: 151.0}})
    assert (answer.decision, answer.mode) == ("ACCEPT", "inferred")
    mode = answer.modes[0]
    assert mode.pooled_test.mean_gain_sec == pytest.approx(0.1 * (40 + 39 + 40) / 3)
    assert mode.pooled_test.p_gain < 0.01
    assert mode.pooled_test.mean_gain_relative == pytest.approx((40 + 39 + 40) / (190 + 192 + 191))
    assert [row.pooled_sec for row in mode.differences] == [pytest.approx(value) for value in (4.0, 3.9, 4.0)]
    assert "p" in answer.reasons[0]


def test_times_are_interpolated_crossings_whatever_the_grid() -> None:
    answer = verdict({"inferred": {41: 151.3}}, {41: 188.7})
    times = {row.arm: row for row in answer.arms}
    assert times["baseline"].crossing_step == pytest.approx(188.7)
    assert times["inferred"].interpolated_sec == pytest.approx(15.13)
    assert times["inferred"].measured_sec == pytest.approx(15.5)
    assert times["inferred"].grid_resolution_sec == pytest.approx(0.5)


def test_a_sure_loss_on_every_seed_is_rejected() -> None:
    answer = verdict({"inferred": arm("inferred", {41: 230.0, 42: 233.0, 43: 231.0}, steps=240)})
    assert answer.decision == "REJECT"


def test_candidates_that_surely_end_above_the_threshold_are_rejected() -> None:
    answer = verdict({"inferred": {41: 200.0, 42: 201.0, 43: 202.0}})
    assert answer.decision == "REJECT"
    assert "0 of 3 candidates reach 1, less than the share of 0.25 that is required" in answer.reasons[0]
    assert "seed 41 by 0.08 bpb, seed 42 by 0.082 bpb" in answer.reasons[0]


def test_a_candidate_that_just_misses_counts_with_what_bounds_it() -> None:
    answer = verdict({"inferred": {41: 150.0, 42: 152.0, 43: 161.0}})
    assert answer.decision == "ACCEPT"
    assert "2 of 3 candidates reach 1 (a share of 0.25 is required)" in answer.reasons[0]
    missed = answer.modes[0].differences[2]
    assert missed.pooled_sec is None
    # Its final lies 0.002 above the threshold, the baseline's 0.018 below: a tenth of the way to it, in log tokens.
    latest = 160 * (200 / 160) ** 0.1
    assert missed.pooled_bounds == pytest.approx((0.1 * (191 - latest), 0.1 * (191 - 160)))


def test_a_required_share_that_is_refuted_prevents_acceptance() -> None:
    crossings = {41: 150.0, 42: 160.4, 43: 160.5, 44: 160.6, 45: 160.45, 46: 160.55}
    baseline = {seed: 190.0 + seed % 3 for seed in crossings}
    lenient = verdict({"inferred": crossings}, baseline, knobs=CandidateKnobs(required_reach=0.05))
    strict = verdict({"inferred": crossings}, baseline, knobs=CandidateKnobs(required_reach=0.95))
    assert lenient.decision == "ACCEPT"
    assert strict.decision == "REJECT"
    assert "1 of 6 candidates reach 1, less than the share of 0.95" in strict.reasons[0]


def test_a_miss_without_a_baseline_below_the_threshold_leaves_the_gain_unknown() -> None:
    answer = verdict({"inferred": {41: 150.0, 42: 152.0, 43: 161.0}}, {41: 190.0, 42: 192.0, 43: None})
    assert answer.decision == "INCONCLUSIVE"
    assert any("of seed 43 it is not known how late" in reason for reason in answer.reasons)


def test_a_gain_within_the_grids_resolution_is_inconclusive() -> None:
    answer = verdict({"inferred": arm("inferred", {41: 188.0, 42: 190.1, 43: 188.9})})
    assert answer.decision == "INCONCLUSIVE"
    assert any("resolution" in reason for reason in answer.reasons)


def test_a_scattered_gain_says_how_many_seeds_would_settle_it() -> None:
    answer = verdict({"inferred": {41: 100.0, 42: 158.0}}, {41: 190.0, 42: 192.0})
    assert answer.decision == "INCONCLUSIVE"
    assert answer.modes[0].seeds_needed > 2
    assert any("seeds in all would settle it" in reason for reason in answer.reasons)


def test_the_baselines_own_horizon_is_inconclusive_with_that_reason() -> None:
    answer = verdict({"fallback": arm("baseline", BASELINE)})
    assert answer.decision == "INCONCLUSIVE"
    assert "the very same runs" in answer.reasons[0]
    assert "LANE_B_THRESHOLD_OFFSET" in answer.reasons[0]
    assert answer.modes[0].pooled_test.mean_gain_sec == 0
    assert answer.modes[0].pooled_test.t == 0


def test_one_pair_is_inconclusive() -> None:
    assert verdict({"inferred": {41: 150.0}}).decision == "INCONCLUSIVE"


def test_a_seed_without_a_baseline_is_named_and_unpaired() -> None:
    answer = verdict({"inferred": {41: 150.0, 42: 153.0, 99: 151.0}})
    assert answer.modes[0].unpaired_seeds == (99,)
    assert any("seed 99" in warning and "LANE_B_BASELINE_SEEDS" in warning for warning in answer.warnings)
    assert answer.modes[0].pooled_test.pairs == 2


def test_no_pair_at_all_is_inconclusive() -> None:
    answer = verdict({"inferred": {98: 150.0, 99: 151.0}})
    assert answer.decision == "INCONCLUSIVE"
    assert "nothing is paired" in answer.reasons[0]


def test_a_failed_run_counts_for_nothing_but_prevents_acceptance() -> None:
    runs = [
        *arm("inferred", {41: 150.0, 42: 153.0}, steps=160),
        run("inferred", 43, 151.0, steps=160, status="failed_nan"),
    ]
    answer = verdict({"inferred": runs})
    assert answer.decision == "INCONCLUSIVE"
    assert any("failed_nan" in warning for warning in answer.warnings)


def test_a_censored_baseline_bounds_the_gain_from_below() -> None:
    answer = verdict({"inferred": {41: 150.0, 42: 153.0, 43: 151.0}}, {41: 190.0, 42: None, 43: 191.0})
    difference = answer.modes[0].differences[1]
    assert difference.baseline_censored
    assert difference.pooled_sec == pytest.approx((200 - 153.0) * 0.1)
    assert answer.decision == "ACCEPT"


def test_a_censored_candidate_that_ended_before_the_baseline_crossed_gives_no_difference() -> None:
    difference = verdict({"inferred": {41: None}}, {41: 190.0}).modes[0].differences[0]
    assert difference.candidate_censored
    assert difference.pooled_sec is None


def test_the_pooled_clock_takes_out_the_machines_speed() -> None:
    slow = arm("inferred", {41: 150.0, 42: 153.0, 43: 151.0}, steps=160, seconds_per_step=0.2)
    answer = verdict({"inferred": slow})
    assert answer.decision == "ACCEPT"
    assert answer.modes[0].deciding_clock == "pooled_step"
    assert any("clocks disagree" in warning for warning in answer.warnings)


def test_arms_of_another_batch_are_decided_on_measured_seconds() -> None:
    other = arm("inferred", {41: 75.0, 42: 77.0, 43: 76.0}, steps=80, total_batch_size=2 * BATCH, seconds_per_step=0.2)
    answer = verdict({"inferred": other})
    assert answer.modes[0].deciding_clock == "measured"
    assert answer.decision == "ACCEPT"
    assert any("batch or shape" in warning for warning in answer.warnings)


def test_a_second_mode_costs_the_primary_one_nothing_and_waits_for_it() -> None:
    gains, scattered = {41: 150.0, 42: 153.0, 43: 151.0}, {41: 110.0, 42: 159.0, 43: 158.0}
    alone = verdict({"confirmation": gains}).modes[0]
    both = verdict({"inferred": gains, "confirmation": gains})
    assert [mode.mode for mode in both.modes] == ["confirmation", "inferred"]
    assert (both.modes[0].p_adjusted, both.modes[0].critical) == (alone.p_adjusted, alone.critical)
    waiting = verdict({"inferred": gains, "confirmation": scattered})
    assert waiting.decision == "INCONCLUSIVE"
    assert waiting.modes[1].reasons == ("confirmation is tested first and is not accepted (LANE_B_PRIMARY_MODE)",)
    first = verdict({"inferred": gains, "confirmation": scattered}, knobs=CandidateKnobs(primary_mode="inferred"))
    assert (first.decision, first.mode) == ("ACCEPT", "inferred")


def test_the_accepted_mode_that_gains_most_is_named_unless_it_misses_more_often() -> None:
    slower, faster = {41: 155.0, 42: 158.0, 43: 156.0}, {41: 150.0, 42: 153.0, 43: 151.0}
    assert verdict({"confirmation": slower, "inferred": faster}).mode == "inferred"
    assert verdict({"confirmation": faster, "inferred": slower}).mode == "confirmation"
    misses = {**faster, 43: 160.5}
    answer = verdict({"confirmation": {seed: 158.0 + seed % 2 for seed in faster}, "inferred": misses})
    assert [mode.decision for mode in answer.modes] == ["ACCEPT", "ACCEPT"]
    assert answer.mode == "confirmation"


def test_a_lane_is_rejected_only_when_every_mode_is() -> None:
    losing = arm("confirmation", {41: 230.0, 42: 233.0, 43: 231.0}, steps=240)
    open_ended = arm("inferred", {41: 150.0, 42: 230.0, 43: 190.0}, steps=240)
    both = verdict({"confirmation": losing, "inferred": open_ended})
    assert (both.modes[0].decision, both.decision, both.mode) == ("REJECT", "INCONCLUSIVE", "inferred")
    assert verdict({"confirmation": losing, "inferred": losing}).decision == "REJECT"


def test_a_threshold_that_only_candidates_reach_on_a_longer_clock_is_no_loss() -> None:
    candidates = arm("inferred", {41: 75.0, 42: 77.0, 43: 76.0}, steps=80, total_batch_size=2 * BATCH,
                     seconds_per_step=0.5)  # fmt: skip
    answer = verdict({"inferred": candidates}, {41: None, 42: None, 43: None})
    assert answer.decision == "INCONCLUSIVE"
    first = answer.modes[0].differences[0]
    assert first.measured_sec is None
    assert first.measured_bounds == pytest.approx((20 - 37.5, None))


def test_equal_differences_spread_as_the_grid_does() -> None:
    equal = verdict({"inferred": {41: 150.0, 42: 150.0}}, {41: 190.0, 42: 190.0}).modes[0]
    assert equal.pooled_test.sd_sec == pytest.approx(0.5 * (2 / 12) ** 0.5)
    assert 0 < equal.pooled_test.p_gain < 0.05


def test_each_clock_has_its_own_grid() -> None:
    coarse = arm("inferred", {41: 15.0, 42: 15.2, 43: 15.1}, steps=20, every=5, total_batch_size=10 * BATCH,
                 seconds_per_step=1.0)  # fmt: skip
    answer = verdict({"inferred": coarse}, {41: 190.0, 42: 193.0, 43: 191.0})
    assert answer.modes[0].deciding_clock == "measured"
    assert answer.modes[0].grid_resolution_sec == pytest.approx(5.0)
    assert answer.decision == "INCONCLUSIVE"
    assert any("resolution of 5 s" in reason for reason in answer.reasons)


def test_runs_of_other_recipes_are_not_compared() -> None:
    other = arm("inferred", {41: 150.0, 42: 153.0, 43: 151.0}, steps=160, recipe="b")
    with pytest.raises(ValueError, match="baseline_s43 and inferred_s43 are runs of different recipes"):
        verdict({"inferred": other}, arm("baseline", BASELINE, recipe="a"))
    answer = verdict({"inferred": other})
    assert any("baseline_s41, baseline_s42, baseline_s43: no recipe is known" in warning for warning in answer.warnings)
    imported = verdict({"inferred": other}, arm("baseline", BASELINE, recipe="a", backend="imported"))
    assert imported.decision == "ACCEPT"
    assert any("no recipe is known" in warning for warning in imported.warnings)


def test_a_realised_ratio_off_by_more_than_a_percent_is_a_warning() -> None:
    realised = 160 * BATCH / N_SCALING
    quiet = verdict({"inferred": {41: 150.0}}, requested_ratios={"inferred": realised * 1.005})
    loud = verdict({"inferred": {41: 150.0}}, requested_ratios={"inferred_s41": realised * 1.02})
    assert not any("requested ratio" in warning for warning in quiet.warnings)
    assert any("requested ratio" in warning for warning in loud.warnings)


def test_nothing_to_judge_is_refused() -> None:
    with pytest.raises(ValueError, match="no candidate runs"):
        verdict({})
    with pytest.raises(ValueError, match="threshold"):
        judge(baselines=[], candidates={"inferred": arm("inferred", {41: 150.0})}, threshold=float("nan"))


@given(st.lists(st.tuples(st.floats(50, 199), st.floats(50, 159)), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_accept_never_comes_without_its_conditions(crossings: list[tuple[float, float]]) -> None:
    answer = verdict(
        {"inferred": {seed: candidate for seed, (_, candidate) in enumerate(crossings)}},
        {seed: baseline for seed, (baseline, _) in enumerate(crossings)},
    )
    mode = answer.modes[0]
    if answer.decision == "ACCEPT":
        assert len(crossings) > 1
        assert mode.pooled_test.mean_gain_sec > mode.grid_resolution_sec
        assert mode.pooled_test.t > mode.critical
        assert mode.pooled_test.p_gain < 0.05
    else:
        assert answer.reasons
    assert Verdict.from_json(answer.to_json()).decision == answer.decision
