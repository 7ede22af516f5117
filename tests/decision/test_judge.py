"""The verdict's sentences and numbers, whole: by hand, on runs that cross where a test wants them to."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from decided_runs import BASELINE, BATCH, N_SCALING, THRESHOLD, arm, results, run, verdict

from laneb.decision import judge, summarize, threshold_from
from laneb.decision.threshold import ThresholdError, target_threshold
from laneb.knobs import CandidateKnobs

GAINS = {41: 150.0, 42: 153.0, 43: 151.0}


def test_an_accept_whole() -> None:
    answer = verdict({"inferred": GAINS})
    [mode] = answer.modes
    assert answer.warnings == ()
    assert answer.reasons == (f"inferred: {mode.reasons[0]}",)
    assert (answer.threshold, answer.pooled_step_sec) == (THRESHOLD, 0.1)
    assert (mode.deciding_clock, mode.deciding_test) == ("pooled_step", mode.pooled_test)
    assert mode.critical == pytest.approx(3.4428, abs=1e-4)
    assert mode.p_adjusted == pytest.approx(mode.pooled_test.p_gain)
    assert mode.level_left == pytest.approx(0.05 - 0.0375)
    assert (mode.grid_resolution_sec, mode.seeds_needed, mode.unpaired_seeds) == (pytest.approx(0.5), None, ())
    assert (mode.reach.reached, mode.reach.runs, mode.equivalent) == (3, 3, False)
    taken = mode.look
    assert (taken.mode, taken.threshold, taken.seeds, taken.pairs) == ("inferred", THRESHOLD, (41, 42, 43), 3)
    assert (taken.statistic, taken.critical) == (mode.pooled_test.t, mode.critical)
    assert (taken.spent, taken.decision) == (pytest.approx(0.0375), "ACCEPT")


def test_a_loss_has_its_p_and_its_sentence() -> None:
    answer = verdict({"inferred": arm("inferred", {41: 230.0, 42: 233.0, 43: 231.0}, steps=240)})
    test = answer.modes[0].pooled_test
    assert answer.modes[0].p_adjusted == pytest.approx(test.p_loss)
    # Student's tail with two degrees of freedom in closed form.
    t = -test.t_loss
    assert test.p_loss == pytest.approx((1 - t / math.sqrt(2 + t**2)) / 2)
    assert answer.reasons == (
        f"inferred: 3 candidates paired by seed are slower than the baseline, by 4.03 s on average at least (one-sided "
        f"p {test.p_loss:.3g})",
    )


def test_an_open_verdict_says_what_would_settle_it() -> None:
    [mode] = verdict({"inferred": {41: 110.0, 42: 159.0, 43: 158.0}}).modes
    assert mode.decision == "INCONCLUSIVE"
    assert mode.reasons == (
        f"the paired test does not show a gain: t {mode.pooled_test.t:.3g} of 3 pairs (one-sided p "
        f"{mode.pooled_test.p_gain:.3g}), 3.44 is needed at this look",
        f"by what these pairs leave open, {mode.seeds_needed} seeds in all would settle it with probability 0.8",
    )


def test_a_mode_of_the_same_horizon_is_told_so_first_and_promised_nothing() -> None:
    same = verdict({"inferred": arm("inferred", {41: 190.0, 42: 193.0, 43: 180.0}, steps=200)}).modes[0]
    assert same.reasons[0].startswith("candidate and baseline have the same realised horizon, 200 steps")
    assert same.reasons[1].startswith("the paired test does not show a gain")
    assert "probability 0.8" not in same.reasons[-1]
    assert same.seeds_needed is None


def test_the_mode_that_waits_is_promised_no_seeds() -> None:
    both = verdict({"inferred": {41: 110.0, 42: 159.0, 43: 158.0}, "confirmation": {41: 110.0, 42: 159.0, 43: 158.0}})
    first, second = both.modes
    assert (first.seeds_needed is None, second.seeds_needed) == (False, None)
    assert second.reasons[-1] == "confirmation is tested first and is not accepted (LANE_B_PRIMARY_MODE)"


def test_the_fallback_waits_for_neither_of_the_others_but_comes_last() -> None:
    order = verdict(dict.fromkeys(("fallback", "inferred", "confirmation"), GAINS)).modes
    assert [mode.mode for mode in order] == ["confirmation", "inferred", "fallback"]


def test_an_accept_names_by_the_clock_that_decides() -> None:
    """On measured seconds confirmation gains more, on pooled steps inferred does."""
    faster = arm("inferred", GAINS, steps=160, seconds_per_step=0.11)
    slower = arm("confirmation", {seed: step + 4 for seed, step in GAINS.items()}, steps=160, seconds_per_step=0.1)
    baseline = arm("baseline", BASELINE)
    pooled = judge(baselines=baseline, candidates={"inferred": faster, "confirmation": slower}, threshold=THRESHOLD)
    assert (pooled.decision, pooled.mode) == ("ACCEPT", "inferred")
    deeper = [each.model_copy(update={"depth": 3}) for each in slower]
    measured = judge(baselines=baseline, candidates={"inferred": faster, "confirmation": deeper}, threshold=THRESHOLD)
    assert (measured.decision, measured.mode) == ("ACCEPT", "confirmation")
    assert measured.modes[0].deciding_test == measured.modes[0].measured_test


def test_warnings_are_sentences_with_their_runs_and_numbers() -> None:
    failed = run("inferred", 42, None, status="failed_nan", steps=160)
    lone = [run("inferred", 41, 150.0, steps=160), failed, run("inferred", 99, 150.0, steps=160),
            run("inferred", 98, 150.0, steps=160)]  # fmt: skip
    realised = 160 * BATCH / N_SCALING
    requested = {"inferred_s41": realised / 1.0101, "inferred_s99": realised / 1.0099, "inferred_s98": 0.0}
    assert verdict({"inferred": lone}, requested_ratios=requested).warnings == (
        f"inferred_s41: requested ratio {realised / 1.0101:.4g}, realised 16 (+1.0%; 160 steps of 1,000 tokens)",
        "inferred_s42 (inferred, seed 42) is failed_nan and counts for nothing",
        "inferred: no finished baseline with a curve to pair with seed 42, 98, 99; it has to reach the threshold but "
        "is in no difference. Add a seed that is none of LANE_B_BASELINE_SEEDS there; an imported one that is lacks "
        "its log: put it beside its results.csv.",
    )
    small = verdict({"inferred": {41: 150.0}}, requested_ratios={"inferred": 0.5})
    assert small.warnings[0].startswith("inferred_s41: requested ratio 0.5, realised 16 (+3100.0%")


def test_the_clocks_disagreement_and_what_decides_without_a_pooled_one_are_said() -> None:
    slow = arm("inferred", GAINS, steps=160, seconds_per_step=0.2)
    answer = verdict({"inferred": slow})
    step = answer.pooled_step_sec
    pooled, seconds = step * 119 / 3, 0.1 * 191 - 0.2 * 454 / 3
    assert answer.warnings == (
        f"inferred: the clocks disagree: {pooled:+.2f} s on pooled steps, {seconds:+.2f} s measured. The machine was "
        f"not equally fast for all runs.",
    )
    blind = [each.model_copy(update={"dt_median_ms": None}) for each in arm("inferred", GAINS, steps=160)]
    unclocked = judge(
        baselines=[each.model_copy(update={"dt_median_ms": None}) for each in arm("baseline", BASELINE)],
        candidates={"inferred": blind},
        threshold=THRESHOLD,
    )
    assert unclocked.warnings == ("no run has a step time, so decided on measured seconds",)
    assert (unclocked.pooled_step_sec, unclocked.modes[0].deciding_clock) == (None, "measured")
    other = verdict({"inferred": arm("inferred", GAINS, steps=160, depth=3)})
    assert other.warnings == (
        "the arms differ in batch or shape, so steps do not compare: decided on measured seconds",
    )


@pytest.mark.parametrize("changes", [{"depth": 3}, {"max_seq_len": 64}, {"n_scaling_params": 9}])
def test_arms_of_another_shape_are_decided_on_measured_seconds(changes: dict) -> None:
    assert verdict({"inferred": arm("inferred", GAINS, steps=160, **changes)}).modes[0].deciding_clock == "measured"


def test_recipes_are_named_where_they_differ_or_are_unknown() -> None:
    mixed = arm("inferred", GAINS, steps=160, recipe="b")
    with pytest.raises(ValueError) as refused:
        verdict(
            {"inferred": mixed, "confirmation": arm("confirmation", GAINS, recipe="c")},
            arm("baseline", BASELINE, recipe="a"),
        )
    assert str(refused.value) == (
        "baseline_s43 and confirmation_s43 are runs of different recipes (text, shape, batch or rates), so that their "
        "times do not compare: materialize baseline_runs and candidate_runs again, or run: laneb run"
    )
    assert verdict({"inferred": mixed}).warnings == (
        "baseline_s41, baseline_s42, baseline_s43: no recipe is known, so that it can't be checked whether they "
        "compare",
    )
    assert verdict({"inferred": mixed}, arm("baseline", BASELINE, recipe="b")).warnings == ()


def test_nothing_to_judge_is_said() -> None:
    with pytest.raises(ValueError) as refused:
        verdict({"inferred": []})
    assert str(refused.value) == ("there are no candidate runs to judge. Materialize candidate_runs, or run: laneb run")
    with pytest.raises(ValueError) as refused:
        judge(baselines=[], candidates={"inferred": arm("inferred", GAINS)}, threshold=math.inf)
    assert str(refused.value) == "threshold inf is not a finite loss"


def test_the_latest_run_of_a_seed_counts_and_an_unreached_target_is_extrapolated_as_the_knobs_say() -> None:
    twice = [*arm("inferred", {41: 190.0}, steps=160), *arm("inferred", GAINS, steps=160)]
    assert verdict({"inferred": twice}).modes[0].pooled_test == verdict({"inferred": GAINS}).modes[0].pooled_test
    curve = [(20 * index, 2.0 * index, 1.0 + 0.5 * index**-0.5) for index in range(1, 9)]
    curve[4] = (100, 10.0, curve[4][2] + 0.002)
    missed = run("inferred", 41, None, steps=160, val_curve=tuple(curve))
    at = {}
    for name, knobs in {
        "line": {}, "power": {"time_to_target_extrapolation": "power_law_recent_eval"},
        "refused": {"time_to_target_extrapolation": "power_law_recent_eval",
                    "time_to_target_power_law_fit_r2_min": 1.0},
        "few": {"time_to_target_extrapolation": "power_law_recent_eval", "time_to_target_power_law_min_points": 5,
                "time_to_target_power_law_max_points": 4},
    }.items():  # fmt: skip
        knobs = CandidateKnobs.model_construct(**{**CandidateKnobs().model_dump(), **knobs})
        rows = judge(
            baselines=arm("baseline", BASELINE), candidates={"inferred": [missed]}, threshold=1.01, knobs=knobs
        )
        at[name] = next(row.extrapolated_sec for row in rows.arms if row.arm == "inferred")
    assert at["line"] == pytest.approx(16 + (1.01 - curve[-1][2]) / ((curve[-1][2] - curve[-3][2]) / 4), rel=0.01)
    assert at["power"] > at["line"]
    assert (at["few"], at["refused"]) == (None, None)


def test_calibration_is_paid_for_on_the_clock_that_decides() -> None:
    calibration = [run("calibration", 41, None, steps=100, seconds_per_step=0.3), *arm("baseline", BASELINE)]
    pooled = verdict({"inferred": GAINS}, calibration=calibration).net_benefit
    assert (pooled.clock, pooled.calibration_sec) == ("pooled_step", pytest.approx(10.0))
    assert (pooled.saved_per_run_sec, pooled.runs_to_pay) == (pytest.approx(0.1 * 119 / 3), 3)
    other = [each.model_copy(update={"depth": 3}) for each in arm("inferred", GAINS, steps=160)]
    measured = verdict({"inferred": other}, calibration=calibration).net_benefit
    assert (measured.clock, measured.calibration_sec) == ("measured", pytest.approx(30.0))
    assert (measured.saved_per_run_sec, measured.runs_to_pay) == (pytest.approx(0.1 * 119 / 3), 8)
    untimed = [calibration[0].model_copy(update={"total_training_time_sec": None})]
    assert verdict({"inferred": other}, calibration=untimed).net_benefit.calibration_sec == 0.0
    even = verdict({"inferred": arm("inferred", BASELINE, steps=198)}, calibration=calibration).net_benefit
    assert (even.saved_per_run_sec, even.runs_to_pay) == (pytest.approx(0.0, abs=1e-9), None)
    assert verdict({"inferred": GAINS}, calibration=arm("baseline", BASELINE)).net_benefit is None
    unbounded = verdict({"inferred": {41: None}}, {41: None}, calibration=calibration)
    assert unbounded.net_benefit is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": "accuracy"}, "target metric 'accuracy' is not known; it is one of val_bpb"),
        ({"offset": -0.5}, "threshold offset -0.5 is not allowed: it is a finite number >= 0 [bpb]"),
        ({"seeds": []}, "no baseline seed is required, so there is nothing to take a threshold from"),
        ({"rows": pd.DataFrame({"seed": [41]})}, "baseline results has no column status, min_val_bpb"),
        (
            {"rows": pd.DataFrame({"seed": [41]}), "results_csv": "a.csv"},
            "a.csv has no column status, min_val_bpb",
        ),
        ({"rows": results((41, "ok", 0.9), (1.5, "ok", 0.9))}, "baseline results line 3: seed 1.5 is not an integer"),
        (
            {"rows": results(("x", "ok", 0.9)), "results_csv": "a.csv"},
            "a.csv line 2: seed 'x' is not an integer",
        ),
        (
            {"rows": results((41, "ok", 0.9), (41, "failed", 0.9), (42, " ok ", "")), "seeds": [43, 41, 42]},
            "baseline results: seed 43 has no row; seed 41's latest row (line 3) is failed; seed 42's latest row "
            "(line 4) has no finite min_val_bpb; so the threshold has 0 of 3 required baselines (none). Rerun with "
            "laneb run, or materialize baseline_runs partition 43, 41, 42.",
        ),
        (
            {"rows": results((41, "ok", 0.9), (42, "ok", 0.8)), "seeds": [41, 43, 42], "results_csv": "a.csv"},
            "a.csv: seed 43 has no row; so the threshold has 2 of 3 required baselines (41, 42). Rerun with laneb run, "
            "or materialize baseline_runs partition 43.",
        ),
        (
            {"rows": results((41, "ok", 0.9)), "seeds": [41], "min_success": 2},
            "1 good baselines, but 2 are needed. Train more baseline seeds (LANE_B_BASELINE_SEEDS) or lower "
            "LANE_B_BASELINE_MIN_SUCCESS.",
        ),
    ],
)  # fmt: skip
def test_what_gives_no_threshold_is_said_whole(options: dict, said: str) -> None:
    rows = options.pop("rows", results((41, "ok", 0.9)))
    with pytest.raises(ThresholdError) as refused:
        threshold_from(rows, **({"seeds": [41]} | options))
    assert str(refused.value) == said


def test_a_threshold_by_default_and_from_rows_without_names() -> None:
    rows = results((41, " ok ", 0.93), (41, "ok", 0.9300004)).drop(columns="experiment_name")
    record = threshold_from(rows, seeds=[41, 41])
    assert (record.recommended_target_threshold, record.threshold_offset) == (0.95, 0.02)
    assert (record.min_successful_runs, record.results_csv, record.target_metric_name) == (1, "", "val_bpb")
    assert record.threshold_formula == "round(median(min_val_bpb over required seeds) + threshold_offset, 6)"
    assert [run.experiment_name for run in record.successful_runs] == [""]
    unnamed = threshold_from(results((41, "ok", 0.93)).assign(experiment_name=[math.nan]), seeds=[41])
    assert [run.experiment_name for run in unnamed.successful_runs] == [""]
    assert threshold_from(results((41, "ok", 0.93)), seeds=[41], results_csv="a.csv", offset=0).results_csv == "a.csv"


def test_an_explicit_threshold_beats_the_baselines_and_says_so_where_it_differs() -> None:
    own = threshold_from(results((41, "ok", 0.93)), seeds=[41])
    assert target_threshold(own, None) == (0.95, "")
    assert target_threshold(own, 0.9500004) == (0.95, "")
    assert target_threshold(own, 0.950001) == (
        0.950001,
        "the threshold is 0.950001 by LANE_B_TARGET_THRESHOLD, but the baselines' median 0.930000 + 0.02 gives "
        "0.950000. Unset it to use theirs.",
    )


def rows(*values: tuple[int, str, object, object]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"run_id": f"laneb_{mode}_s{seed}_{index}", "seed": seed, "lane_b_decision": mode,
             "time_to_target_sec_measured": measured, "time_to_target_sec_extrapolated": extrapolated, "status": "ok"}
            for index, (seed, mode, measured, extrapolated) in enumerate(values)
        ]
    )  # fmt: skip


def test_a_winner_has_its_time_and_whether_a_run_realised_it() -> None:
    found = summarize(
        rows((41, "inferred", 12.0, 3.0), (41, "confirmation", 12.5, None), (42, "inferred", None, 9.0),
             (43, "inferred", None, None), (44, "inferred", 0.0, None), (44, "confirmation", 0.5, None),
             (45, "inferred", -1.0, math.inf), (46, "inferred", 8.0, None), (46, "inferred", 7.0, None))
    )  # fmt: skip
    said = {each.seed: (each.winner, each.time_sec, each.extrapolated) for each in found.winners}
    assert said == {
        41: ("inferred", 12.0, False), 42: ("inferred", 9.0, True), 43: ("tie_or_missing", None, False),
        44: ("inferred", 0.0, False), 45: ("tie_or_missing", None, False), 46: ("inferred", 7.0, False),
    }  # fmt: skip
    tied = summarize(rows((41, "inferred", 9.0, None), (41, "confirmation", 9.0, None)))
    assert (tied.winners[0].winner, tied.winners[0].time_sec) == ("tie_or_missing", 9.0)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (rows((41, "inferred", 1, 1)).drop(columns=["status", "seed"]), "schema rows have no column seed, status"),
        (
            rows((41, "best", 1, 1)),
            "schema row laneb_best_s41_0: lane_b_decision 'best' is none of inferred, confirmation, fallback",
        ),
        (rows((1.5, "inferred", 1, 1)), "schema row laneb_inferred_s1.5_0: seed 1.5 is not an integer"),
    ],
)
def test_rows_that_can_not_be_summed_up_are_named(frame: pd.DataFrame, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        summarize(frame)
    assert str(refused.value) == said
