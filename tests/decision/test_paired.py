"""Paired differences, what bounds them, and the t test on them: values by hand or by scipy's own tests."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from laneb.decision.paired import grid_resolution, grid_sd, latest_step, paired_differences, paired_test
from laneb.decision.reach import reach_of
from laneb.records.verdict import ArmTime, Bounds, PairedDifference


def row(seed: int = 41, step: float | None = 100.0, **changes: object) -> ArmTime:
    values = {
        "arm": "a", "seed": seed, "run_id": f"a_s{seed}", "status": "ok", "steps": 200, "total_batch_size": 1000,
        "requested_ratio": None, "realised_ratio": 1.0, "reached": True, "crossing_step": step, "measured_sec": None,
        "interpolated_sec": None if step is None else step * 0.2, "extrapolated_sec": None,
        "pooled_sec": None if step is None else step * 0.1, "grid_resolution_sec": None, "min_val_bpb": 0.98,
    }  # fmt: skip
    return ArmTime.model_validate(values | changes)


MISSED = {"reached": False, "min_val_bpb": 1.01, "steps": 160}
LATEST = 160 * (200 / 160) ** (0.01 / 0.03)
"""Of a candidate of 160 steps that ends 0.01 above 1.0, where its baseline of 200 steps ends 0.02 below."""


@pytest.mark.parametrize(
    ("baseline", "candidate", "pooled", "measured", "known", "relative"),
    [
        (row(step=190.0), row(step=150.0), (4.0, 4.0), (8.0, 8.0), (4.0, 8.0), 40 / 190),
        (row(step=150.0), row(step=150.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), 0.0),
        (row(step=150.0), row(step=190.0), (-4.0, -4.0), (-8.0, -8.0), (-4.0, -8.0), -40 / 150),
        # A baseline that ends above: the difference is at least so large, and known to be a gain if that is one.
        (row(step=200.0, reached=False), row(step=150.0), (5.0, None), (10.0, None), (5.0, 10.0), None),
        (row(step=200.0, reached=False), row(step=200.0), (0.0, None), (0.0, None), (0.0, 0.0), None),
        (row(step=200.0, reached=False), row(step=205.0), (-0.5, None), (-1.0, None), (None, None), None),
        # A candidate that ends above: bounded by its end, and by the horizon that a line in log tokens gives.
        (row(step=190.0), row(step=160.0, **MISSED), (19 - 0.1 * LATEST, 3.0), (38 - 0.2 * LATEST, 6.0),
         (None, None), None),
        (row(step=150.0), row(step=160.0, **MISSED), (15 - 0.1 * LATEST, -1.0), (30 - 0.2 * LATEST, -2.0),
         (-1.0, -2.0), None),
        (row(step=160.0), row(step=160.0, **MISSED), (16 - 0.1 * LATEST, 0.0), (32 - 0.2 * LATEST, 0.0),
         (0.0, 0.0), None),
        (row(step=155.0), row(step=150.0, **MISSED), (15.5 - 15 * LATEST / 160, 0.5), (31 - 30 * LATEST / 160, 1.0),
         (None, None), None),
        (row(step=200.0, reached=False, min_val_bpb=1.005), row(step=160.0, **MISSED), (None, None), (None, None),
         (None, None), None),
        (row(step=0.0), row(step=0.0), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), None),
        (row(step=0.5), row(step=0.25), (0.025, 0.025), (0.05, 0.05), (0.025, 0.05), 0.5),
        (row(step=190.0, pooled_sec=None), row(step=150.0), (None, None), (8.0, 8.0), (None, 8.0), 40 / 190),
        (row(step=190.0), row(step=150.0, interpolated_sec=None), (4.0, 4.0), (None, None), (4.0, None), 40 / 190),
    ],
)  # fmt: skip
def test_a_difference_lies_between_its_bounds_on_each_clock(
    baseline, candidate, pooled, measured, known, relative
) -> None:
    [found] = paired_differences([baseline], [candidate], 1.0)
    assert found.pooled_bounds == pytest.approx(pooled)
    assert found.measured_bounds == pytest.approx(measured)
    assert (found.pooled_sec, found.measured_sec) == (pytest.approx(known[0]), pytest.approx(known[1]))
    assert found.relative == (None if relative is None else pytest.approx(relative))
    assert (found.baseline_censored, found.candidate_censored) == (not baseline.reached, not candidate.reached)


def test_only_finished_runs_of_one_seed_are_paired() -> None:
    baseline = [row(41), row(42), row(43, status="failed"), row(44, step=None)]
    candidate = [row(42, 90.0), row(41, 80.0, status="failed_nan"), row(43), row(44), row(45), row(41, None)]
    assert [found.seed for found in paired_differences(baseline, candidate, 1.0)] == [42]


@pytest.mark.parametrize(
    ("baseline", "candidate", "steps"),
    [
        ({"min_val_bpb": 0.98}, {"min_val_bpb": 1.01}, LATEST),
        ({"min_val_bpb": 1.0}, {"min_val_bpb": 1.01}, 200.0),
        ({"min_val_bpb": 0.98, "steps": 100, "total_batch_size": 2000}, {"min_val_bpb": 1.01}, LATEST),
        ({"min_val_bpb": 0.98, "steps": 200, "total_batch_size": 400}, {"min_val_bpb": 1.01}, None),
        ({"min_val_bpb": 0.98}, {"min_val_bpb": 1.0}, None),
        ({"min_val_bpb": 1.0001}, {"min_val_bpb": 1.01}, None),
        ({"min_val_bpb": 0.98, "steps": 160}, {"min_val_bpb": 1.01}, None),
        ({"min_val_bpb": None}, {"min_val_bpb": 1.01}, None),
        ({"min_val_bpb": 0.98}, {"min_val_bpb": None}, None),
    ],
)
def test_a_missed_threshold_is_reached_by_the_line_in_log_tokens(baseline, candidate, steps) -> None:
    missed = row(reached=False, **{"steps": 160, **candidate})
    assert latest_step(row(**baseline), missed, 1.0) == (None if steps is None else pytest.approx(steps))


def test_the_grid_gives_a_difference_the_spread_of_two_uniform_crossings() -> None:
    widths = [{"grid_resolution_sec": 0.6, "measured_resolution_sec": 1.2}, {"grid_resolution_sec": 0.2}, {}]
    baseline, candidate = [row(**each) for each in widths], [row(grid_resolution_sec=0.9)]
    assert grid_sd(baseline, candidate, "pooled_step") == pytest.approx(math.sqrt((0.36 + 0.04) / 24 + 0.81 / 12))
    assert grid_sd(baseline, candidate, "measured") == pytest.approx(1.2 / math.sqrt(12))
    assert grid_sd([row()], [], "measured") == 0
    assert grid_resolution(baseline, "pooled_step") == 0.6
    assert grid_resolution(baseline, "measured") == 1.2
    assert grid_resolution([row()], "measured") is None


def differences(lows: list[float | None], highs: list[float | None] | None = None) -> list[PairedDifference]:
    return [
        PairedDifference(
            seed=seed, pooled_sec=None, measured_sec=None, relative=None, baseline_censored=False,
            candidate_censored=False, pooled_bounds=Bounds(low, high), measured_bounds=Bounds(7.0, 9.0),
        )
        for seed, (low, high) in enumerate(zip(lows, highs or lows, strict=True))
    ]  # fmt: skip


def test_the_test_is_students_on_the_bounds_that_speak_against_it() -> None:
    lows, highs = [3.0, 5.5, 4.0, 3.5], [3.5, 6.0, 4.5, 5.0]
    found = paired_test(differences(lows, highs), "pooled_step", baseline_sec=20.0)
    gain, loss = (
        stats.ttest_1samp(lows, 0, alternative="greater"),
        stats.ttest_1samp(highs, 0, alternative="less"),
    )
    assert (found.clock, found.pairs) == ("pooled_step", 4)
    assert found.mean_gain_sec == pytest.approx(4.0)
    assert found.mean_gain_relative == pytest.approx(0.2)
    assert found.sd_sec == pytest.approx(np.std(lows, ddof=1))
    assert (found.t, found.p_gain) == (pytest.approx(gain.statistic), pytest.approx(gain.pvalue))
    assert (found.t_loss, found.p_loss) == (pytest.approx(loss.statistic), pytest.approx(loss.pvalue))
    assert found.mean_high_sec == pytest.approx(4.75)
    assert paired_test(differences(lows), "measured").mean_high_sec == 9.0
    assert paired_test(differences(lows), "measured").mean_gain_relative is None


def test_a_spread_below_the_grids_is_the_grids_and_equal_values_have_none() -> None:
    floored = paired_test(differences([4.0, 4.0, 4.1]), "pooled_step", floor=0.2)
    assert floored.sd_sec == 0.2
    assert floored.t == pytest.approx(floored.mean_gain_sec / (0.2 / math.sqrt(3)))
    equal = paired_test(differences([4.0, 4.0]), "pooled_step")
    assert (equal.t, equal.p_gain, equal.sd_sec) == (None, None, 0.0)
    above = paired_test(differences([0.9, 1.1]), "pooled_step")
    assert above.sd_sec == pytest.approx(0.2 / math.sqrt(2))


@pytest.mark.parametrize(
    ("lows", "highs", "gain", "loss"),
    [
        ([4.0], [5.0], 4.0, 5.0),
        ([], [], None, None),
        ([4.0, None], [5.0, 6.0], None, 5.5),
        ([4.0, 5.0], [None, 6.0], 4.5, None),
    ],
)
def test_a_side_that_is_not_bounded_is_not_tested(lows, highs, gain, loss) -> None:
    found = paired_test(differences(lows, highs), "pooled_step")
    assert (found.mean_gain_sec, found.mean_high_sec) == (gain, loss)
    assert (found.t is None) == (None in lows or len(lows) < 2)
    assert (found.t_loss is None) == (None in highs or len(highs) < 2)
    assert (found.p_gain is None, found.p_loss is None) == (found.t is None, found.t_loss is None)
    assert found.sd_sec == (None if len(lows) < 2 else pytest.approx(1 / math.sqrt(2)))


def margins(*values: float, status: str = "ok") -> list[ArmTime]:
    return [row(seed, reached=value >= 0, min_val_bpb=1.0 - value, status=status) for seed, value in enumerate(values)]


def test_the_share_that_reaches_is_judged_by_the_margins_noncentral_t() -> None:
    values = (0.01, -0.002, 0.004, -0.011)
    found = reach_of(margins(*values), 1.0, 0.4)
    shift = math.sqrt(4) * stats.norm.ppf(0.4)
    assert (found.reached, found.runs, found.required_share) == (2, 4, 0.4)
    assert found.p_below == pytest.approx(stats.nct.cdf(stats.ttest_1samp(values, 0).statistic, 3, shift))
    # Of two margins, by a simulation of the required share: how often a mean so low, for its spread, comes by chance.
    draws = np.random.default_rng(0).standard_normal((400_000, 2)) + stats.norm.ppf(0.4)
    chance = (draws.mean(1) / draws.std(1, ddof=1) <= np.mean([-0.01, -0.002]) / np.std([-0.01, -0.002], ddof=1)).mean()
    assert reach_of(margins(-0.01, -0.002), 1.0, 0.4).p_below == pytest.approx(chance, abs=0.003)


def test_without_a_spread_or_with_a_failed_run_the_count_is_binomial() -> None:
    assert reach_of(margins(-0.01, -0.01), 1.0, 0.25).p_below == pytest.approx(0.75**2)
    assert reach_of(margins(-0.01), 1.0, 0.25).p_below == pytest.approx(0.75)
    some = [*margins(0.01, -0.003), *margins(-0.02, status="failed")]
    assert reach_of(some, 1.0, 0.25).p_below == pytest.approx(0.75**3 + 3 * 0.25 * 0.75**2)
    assert reach_of([], 1.0, 0.25).p_below is None


def test_far_out_the_share_is_as_sure_as_it_can_be() -> None:
    assert reach_of(margins(1.0, 1.0 + 1e-8, 1.0), 1.0, 0.25).p_below == 1.0
    assert reach_of(margins(-1.0, -1.0 - 1e-8, -1.0), 1.0, 0.25).p_below == pytest.approx(0.0, abs=1e-9)
