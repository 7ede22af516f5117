"""What a mode's runs say: times on each clock, means, what this look may spend; and what is left to find out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from decided_runs import BATCH, N_SCALING, THRESHOLD, arm, run
from scipy import stats

from laneb.decision.arms import arm_times, pooled_step_sec
from laneb.decision.evidence import Evidence, gather
from laneb.decision.looks import bonferroni_critical, critical_at, looks_before, spent_at, spent_before
from laneb.decision.outlook import gain_bounds, seeds_needed
from laneb.knobs import CandidateKnobs
from laneb.records.base import canonical_hash
from laneb.records.runs import ValidationPoint
from laneb.records.verdict import Bounds, Look, Reach
from laneb.training.time_to_target import time_to_target

CURVE = (ValidationPoint(40, 4.0, 1.2), ValidationPoint(100, 12.0, 1.1), ValidationPoint(160, 20.0, 0.9))


def times(arms: dict, step_sec: float | None = 0.1, requested: dict | None = None) -> dict:
    return {row.run_id: row for row in arm_times(arms, THRESHOLD, requested or {}, step_sec, time_to_target)}


def test_a_runs_row_has_its_crossing_on_every_clock() -> None:
    one = run("inferred", 41, 0.0, steps=160, val_curve=CURVE, peak_mem_mib=None)
    found = times({"inferred": [one]}, requested={"inferred": 15.0})["inferred_s41"]
    assert (found.arm, found.seed, found.steps, found.total_batch_size) == ("inferred", 41, 160, BATCH)
    assert (found.requested_ratio, found.realised_ratio) == (15.0, 160 * BATCH / N_SCALING)
    assert (found.reached, found.crossing_step, found.measured_sec) == (True, pytest.approx(130.0), 20.0)
    assert (found.interpolated_sec, found.pooled_sec) == (pytest.approx(16.0), pytest.approx(13.0))
    assert (found.grid_resolution_sec, found.measured_resolution_sec) == (pytest.approx(6.0), 8.0)
    assert (found.min_val_bpb, found.extrapolated_sec) == (0.9, None)
    without = times({"inferred": [one]}, None, {"inferred": 15.0, "inferred_s41": 15.5})["inferred_s41"]
    assert (without.pooled_sec, without.grid_resolution_sec, without.requested_ratio) == (None, None, 15.5)


def test_a_run_that_never_reaches_stands_with_its_end_and_the_line_through_its_last_points() -> None:
    missed = times({"inferred": [run("inferred", 41, 0.0, val_curve=CURVE[:2], steps=100)]})["inferred_s41"]
    assert (missed.reached, missed.crossing_step, missed.pooled_sec) == (False, 100.0, pytest.approx(10.0))
    assert (missed.measured_sec, missed.interpolated_sec) == (12.0, 12.0)
    assert missed.extrapolated_sec == pytest.approx(12.0 + 0.1 / (0.1 / 8))
    assert (missed.grid_resolution_sec, missed.measured_resolution_sec) == (None, None)


def test_a_first_evaluation_below_the_threshold_is_as_wide_as_the_run_so_far() -> None:
    first = times({"inferred": [run("inferred", 41, 0.0, val_curve=CURVE[2:], steps=160)]})["inferred_s41"]
    assert (first.crossing_step, first.grid_resolution_sec, first.measured_resolution_sec) == (160.0, 16.0, 20.0)
    alone = times({"inferred": [run("inferred", 41, 0.0, val_curve=CURVE[:1], steps=40)]})["inferred_s41"]
    assert (alone.crossing_step, alone.pooled_sec) == (40.0, 4.0)


@pytest.mark.parametrize("changes", [{"status": "failed_nan"}, {"val_curve": ()}])
def test_a_run_that_failed_or_was_never_evaluated_has_no_time(changes) -> None:
    found = times({"inferred": [run("inferred", 41, 150.0, **changes)]})["inferred_s41"]
    assert (found.reached, found.crossing_step, found.measured_sec, found.pooled_sec) == (False, None, None, None)
    assert (found.grid_resolution_sec, found.measured_resolution_sec) == (None, None)


def test_the_pooled_clock_is_the_median_of_all_runs_that_have_one() -> None:
    arms = {"baseline": [run("b", 1, 9.0, dt_median_ms=value) for value in (100.0, None, 300.0)],
            "inferred": [run("i", 1, 9.0, dt_median_ms=120.0)]}  # fmt: skip
    assert pooled_step_sec(arms) == pytest.approx(0.12)
    assert pooled_step_sec({"baseline": [run("b", 1, 9.0, dt_median_ms=None)]}) is None


BASELINE = {41: 190.0, 42: 192.0, 43: 191.0, 44: 193.0}
CANDIDATE = {41: 150.0, 42: 155.0, 43: 148.0}


def gathered(
    candidate: dict[int, float | None] = CANDIDATE, *, clock: str = "pooled_step", steps: int = 160, looks=(), **options
) -> Evidence:
    arms = {"baseline": arm("baseline", BASELINE, seconds_per_step=0.3),
            "inferred": arm("inferred", candidate, steps=steps, seconds_per_step=0.2, **options)}  # fmt: skip
    rows = list(times(arms).values())
    return gather("inferred", arms, rows, threshold=THRESHOLD, clock=clock, knobs=CandidateKnobs(), looks=looks)


def test_evidence_on_the_pooled_clock_and_on_measured_seconds() -> None:
    pooled, measured = gathered(), gathered(clock="measured")
    gains = [4.0, 3.7, 4.3]
    seconds = [0.3 * BASELINE[seed] - 0.2 * CANDIDATE[seed] for seed in CANDIDATE]
    assert pooled.baseline_sec == pytest.approx(0.1 * (190 + 192 + 191) / 3)
    assert measured.baseline_sec == pytest.approx(0.3 * (190 + 192 + 191) / 3)
    assert (pooled.resolution, measured.resolution) == (pytest.approx(0.5), pytest.approx(1.5))
    assert pooled.floor == pytest.approx(0.5 * math.sqrt(2 / 12))
    assert measured.floor == pytest.approx(math.hypot(1.5, 1.0) / math.sqrt(12))
    assert pooled.test.t == pytest.approx(stats.ttest_1samp(gains, 0).statistic)
    assert measured.test.t == pytest.approx(stats.ttest_1samp(seconds, 0).statistic)
    assert pooled.tests["measured"] == measured.test
    assert measured.test.mean_gain_relative == pytest.approx(np.mean(seconds) / (0.3 * 191))
    assert pooled.question == measured.question == canonical_hash([])
    assert [row.seed for row in pooled.candidate] == [41, 42, 43]
    names = [f"baseline-{seed}-200" for seed in CANDIDATE] + [f"inferred-{seed}-160" for seed in CANDIDATE]
    assert pooled.runs == tuple(sorted(names))
    assert (pooled.spent, pooled.waits_for, pooled.same_horizon) == (pytest.approx(0.0375), None, "")
    assert pooled.critical == pytest.approx(stats.t.isf(0.0375, 2))
    assert pooled.critical_loss == pytest.approx(stats.t.isf(0.0375 / 2, 2))
    assert pooled.level_of_miss == pytest.approx(0.0375 / 2)


def test_the_question_is_the_recipes_of_the_runs_that_tell_one() -> None:
    arms = {"baseline": arm("baseline", BASELINE, recipe="a"), "inferred": arm("inferred", CANDIDATE, recipe="a")}
    arms["baseline"][0] = run("baseline", 41, 190.0, recipe="row", backend="imported")
    found = gather(
        "inferred", arms, list(times(arms).values()), threshold=1.0, clock="measured", knobs=CandidateKnobs()
    )
    assert found.question == canonical_hash(["a"])


def test_one_pair_spends_nothing_and_is_held_to_nothing() -> None:
    one = gathered({41: 150.0})
    assert (one.spent, one.critical, one.critical_loss, one.level_of_miss) == (0.0, None, None, 0.0)


@pytest.mark.parametrize(
    ("candidate", "steps", "options", "said"),
    [
        ({41: 190.0, 42: 191.0, 99: 190.0}, 200, {}, "200 steps (seed 41, 42): runs of equal length"),
        ({42: 190.0}, 200, {"fingerprint": "baseline-42-200"}, "200 steps (seed 42): the very same runs"),
    ],
)
def test_a_mode_that_trains_as_long_as_the_baseline_says_that_there_is_nothing_to_find(
    candidate, steps, options, said
) -> None:
    assert gathered(candidate, steps=steps, **options).same_horizon == (
        f"candidate and baseline have the same realised horizon, {said}, so there is no difference to find. A larger "
        f"LANE_B_THRESHOLD_OFFSET asks for less and gives a shorter horizon."
    )


def look(pairs: int, spent: float, **changes: object) -> Look:
    values: dict[str, object] = {
        "timestamp_utc": "", "question": canonical_hash([]), "mode": "inferred", "threshold": THRESHOLD,
        "seeds": tuple(range(41, 41 + pairs)), "pairs": pairs, "statistic": 1.0, "critical": 5.0, "spent": spent,
        "decision": "INCONCLUSIVE", "runs": ("x",),
    }  # fmt: skip
    return Look.model_validate(values | changes)


def test_a_look_after_others_has_the_level_less_what_they_spent() -> None:
    before = look(2, 0.025)
    found = gathered(looks=[before, look(2, 0.04, mode="confirmation"), look(3, 0.045, question="another")])
    assert found.before == (before,)
    assert found.spent == pytest.approx(0.0375)
    assert found.critical == pytest.approx(stats.t.isf(0.0125, 2))
    assert found.critical_loss == pytest.approx(stats.t.isf(0.0125 / 2, 2))
    assert found.accepted_before is None
    accepted = look(2, 0.03, decision="ACCEPT")
    assert gathered(looks=[before, accepted]).accepted_before == accepted
    assert gathered({41: 150.0}, looks=[before]).spent == 0.025
    nested = look(2, 0.025, runs=tuple(name for name in found.runs if "43" not in name))
    assert gathered(looks=[nested]).critical < found.critical


def test_looks_are_spent_by_their_own_arithmetic() -> None:
    taken = (look(3, 0.0375), look(3, 0.04375))
    assert spent_before(()) == 0.0
    assert spent_before(taken) == 0.04375
    assert [spent_at(pairs, ()) for pairs in (2, 3, 5)] == pytest.approx([0.025, 0.0375, 0.046875])
    assert spent_at(3, taken[:1]) == pytest.approx((0.05 + 0.0375) / 2)
    assert spent_at(9, taken) == pytest.approx(0.05 * (1 - 2**-8))
    assert spent_at(4, (look(2, 0.01),)) == pytest.approx(0.05 * (1 - 2**-3))
    assert critical_at(4, taken) == pytest.approx(stats.t.isf((0.05 + 0.04375) / 2 - 0.04375, 3))
    assert bonferroni_critical(4, taken, 0.5) == pytest.approx(stats.t.isf(((0.05 + 0.04375) / 2 - 0.04375) / 2, 3))
    same = look(3, 0.0375, runs=("a", "b"), threshold=1.0)
    other = [look(2, 0.025), look(2, 0.03, threshold=1.1), same]
    assert looks_before(other, mode="inferred", question=same.question, threshold=1.0, runs=["a", "b"]) == tuple(
        other[:2]
    )
    assert looks_before(other, mode="inferred", question=same.question, threshold=1.1, runs=["a", "b"]) == tuple(other)
    # A look at the very same runs is no beginning of a longer sequence.
    assert critical_at(4, (same,), threshold=1.0, runs=("a", "b")) == pytest.approx(
        stats.t.isf(spent_at(4, (same,)) - 0.0375, 3)
    )


def test_the_bounds_of_a_gain_are_the_critical_value_on_either_side() -> None:
    found = gathered()
    half = found.critical * np.std([4.0, 3.7, 4.3], ddof=1) / math.sqrt(3)
    assert gain_bounds(found) == pytest.approx(((4.0 - half) / 19.1, (4.0 + half) / 19.1))
    low = found.test.model_copy(update={"mean_gain_sec": None})
    assert gain_bounds(replace(found, tests={"pooled_step": low})) == (None, pytest.approx((4.0 + half) / 19.1))
    high = found.test.model_copy(update={"mean_high_sec": None})
    assert gain_bounds(replace(found, tests={"pooled_step": high})) == (pytest.approx((4.0 - half) / 19.1), None)
    for nothing in (replace(found, critical=None), replace(found, baseline_sec=None), gathered({41: 150.0})):
        assert gain_bounds(nothing) == Bounds(None, None)


FUTURES = 20_000


def chance_of_a_verdict(evidence: Evidence, taken: Look, count: int) -> float:
    """The next look played out run by run: the rule of docs/method.md, written down once more."""
    spent = max(0.05 * (1 - 2.0 ** (1 - count)), (0.05 + taken.spent) / 2)
    increment = spent - taken.spent

    def future(values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
        draw = np.random.default_rng(seed)
        sigma = np.sqrt(((values - values.mean()) ** 2).sum() / draw.chisquare(len(values) - 1, FUTURES))
        truth = values.mean() + sigma / math.sqrt(len(values)) * draw.standard_normal(FUTURES)
        coming = truth[:, None] + sigma[:, None] * draw.standard_normal((FUTURES, count - len(values)))
        all_runs = np.hstack([np.tile(values, (FUTURES, 1)), coming])
        return all_runs.mean(1), all_runs.std(1, ddof=1)

    grid = evidence.resolution or 0.0
    bounds = [row.bounds(evidence.clock) for row in evidence.differences]
    (mean, sd), (high, high_sd) = (future(np.array(side), 12) for side in zip(*bounds, strict=True))
    t = mean / (np.maximum(sd, evidence.floor) / math.sqrt(count))
    t_loss = high / (np.maximum(high_sd, evidence.floor) / math.sqrt(count))
    margin, margin_sd = future(np.array([evidence.threshold - row.min_val_bpb for row in evidence.candidate]), 13)
    share = math.sqrt(count) * margin / margin_sd
    shift = math.sqrt(count) * stats.norm.ppf(evidence.reach.required_share)
    accept = (t > stats.t.isf(increment, count - 1)) & (mean > grid) & (share > stats.nct.ppf(0.05, count - 1, shift))
    loss = (-t_loss > stats.t.isf(increment / 2, count - 1)) & (-high > grid)
    return float((accept | loss | (share < stats.nct.ppf(increment / 2, count - 1, shift))).mean())


SPREADS = {
    "a gain": {41: 175.0, 42: 158.0, 43: 130.0},
    "a wider gain": {41: 185.0, 42: 150.0, 43: 140.0, 44: 190.0},
    "a loss": {41: 205.0, 42: 240.0, 43: 198.0},
    "too small a share": {41: 201.0, 42: 204.0, 43: 200.5},
}


def open_evidence(name: str, **changes: object) -> tuple[Evidence, Look]:
    found = gathered(SPREADS[name], steps=250 if name == "a loss" else 199)
    found = replace(found, **changes) if changes else found
    return found, look(len(found.differences), found.spent, critical=found.critical, runs=found.runs)


@pytest.mark.parametrize(
    ("name", "changes", "needed"),
    [
        ("a gain", {}, 15), ("a wider gain", {}, 39), ("a loss", {}, 39), ("too small a share", {}, 12),
        ("a gain", {"resolution": 2.0}, 18), ("a gain", {"resolution": None}, 15), ("a gain", {"floor": 4.0}, 22),
        ("a gain", {"resolution": 3.4}, None),
        ("a gain", {"reach": Reach(reached=3, runs=3, required_share=0.9, p_below=0.5)}, 18),
    ],
)  # fmt: skip
def test_the_seeds_that_settle_it_are_those_of_a_simulation_of_the_rule(name, changes, needed) -> None:
    found, taken = open_evidence(name, **changes)
    assert seeds_needed(found, taken) == needed
    if needed is None:
        assert chance_of_a_verdict(found, taken, 199) < 0.8
    else:
        assert chance_of_a_verdict(found, taken, needed) == pytest.approx(0.8, abs=0.02)


def test_what_no_upper_bound_and_no_reference_can_reject_is_not_promised() -> None:
    """Baselines that miss: how late they would be is not known, so no loss can be shown and no share held against."""
    found, taken = open_evidence("a loss")
    above = tuple(row.model_copy(update={"reached": False}) for row in found.baseline)
    unbounded = tuple(
        row.model_copy(update={"pooled_bounds": Bounds(row.pooled_bounds.low, None)}) for row in found.differences
    )
    assert seeds_needed(replace(found, differences=unbounded), taken) is None
    few, few_taken = open_evidence("too small a share")
    assert seeds_needed(replace(few, baseline=above), few_taken) is None


def test_without_bounds_two_pairs_or_an_end_nothing_is_promised() -> None:
    found, taken = open_evidence("a gain")
    first, *others = found.differences
    unbounded = (first.model_copy(update={"pooled_bounds": Bounds(None, 1.0)}), *others)
    assert seeds_needed(replace(found, differences=unbounded), taken) is None
    assert seeds_needed(replace(found, differences=found.differences[:1]), taken) is None
    assert seeds_needed(replace(found, candidate=found.candidate[:1]), taken) is None
    nearly = {seed: BASELINE[seed] + (3.0 if seed % 2 else -3.1) for seed in BASELINE}
    nothing = gathered(nearly, steps=199)
    assert seeds_needed(nothing, look(4, nothing.spent)) is None
