"""Each condition of ACCEPT and of REJECT fires at its limit, says so, and just inside it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from decided_runs import THRESHOLD, arm

from laneb.decision.arms import arm_times
from laneb.decision.evidence import Evidence, gather
from laneb.decision.protocol import CONDITIONS, accept_reason, why_not_accept, why_reject
from laneb.knobs import CandidateKnobs
from laneb.records.verdict import Bounds, Look, Reach
from laneb.training.time_to_target import time_to_target

BASELINE = {41: 190.0, 42: 192.0, 43: 191.0}


def evidence(candidate: dict[int, float | None], baseline: dict[int, float | None] = BASELINE) -> Evidence:
    arms = {"baseline": arm("baseline", baseline), "inferred": arm("inferred", candidate, steps=160)}
    rows = arm_times(arms, THRESHOLD, {}, 0.1, time_to_target)
    return gather("inferred", arms, rows, threshold=THRESHOLD, clock="pooled_step", knobs=CandidateKnobs())


GAIN = evidence({41: 150.0, 42: 153.0, 43: 151.0})
CRITICAL = GAIN.critical


def with_test(**changes: object) -> Evidence:
    """The gain's evidence with another test."""
    return replace(GAIN, tests={**GAIN.tests, "pooled_step": GAIN.test.model_copy(update=changes)})


def reach(reached: int, p_below: float | None, of: int = 3) -> Evidence:
    return replace(GAIN, reach=Reach(reached=reached, runs=of, required_share=0.25, p_below=p_below))


def failed_run(status: str) -> Evidence:
    first, *others = GAIN.candidate
    return replace(GAIN, candidate=(first.model_copy(update={"status": status}), *others))


def look(**changes: object) -> Look:
    values = {"timestamp_utc": "", "question": "q", "mode": "inferred", "threshold": 1.0, "seeds": (41, 42), "pairs": 2,
              "statistic": 14.25, "critical": 12.7, "spent": 0.025, "decision": "ACCEPT", "runs": ()}  # fmt: skip
    return Look.model_validate(values | changes)


def unbounded(*seeds: int) -> Evidence:
    open_below = {"pooled_bounds": Bounds(None, 1.0)}
    return replace(
        GAIN,
        differences=tuple(row.model_copy(update=open_below) if row.seed in seeds else row for row in GAIN.differences),
    )


ABOVE = evidence({41: 150.0, 42: 160.5, 43: 163.0})

CASES: list[tuple[str, Evidence, Evidence, str]] = [
    (
        "finished", failed_run("failed_nan"), GAIN,
        "1 of 3 candidates did not finish (seed 41 failed_nan): train them again",
    ),
    (
        "paired", replace(GAIN, differences=()), replace(GAIN, differences=GAIN.differences[:2]),
        "no seed has both a finished baseline and a finished candidate, so nothing is paired",
    ),
    (
        "paired", replace(GAIN, differences=GAIN.differences[:1]), GAIN,
        "1 paired difference has no spread to test against; a paired test takes two seeds",
    ),
    (
        "reach", reach(1, 0.0499), reach(1, 0.05),
        "1 of 3 candidates reach 1, where a share of 0.25 is required, one-sided p 0.0499.",
    ),
    ("reach", reach(0, None), reach(1, None), "0 of 3 candidates reach 1, where a share of 0.25 is required."),
    (
        "reach", replace(ABOVE, reach=reach(1, 0.01).reach), replace(ABOVE, reach=reach(1, 0.2).reach),
        "1 of 3 candidates reach 1, where a share of 0.25 is required, one-sided p 0.01. Above it end seed 42 by "
        "0.001 bpb, seed 43 by 0.006 bpb.",
    ),
    (
        "bounded", unbounded(41, 43), GAIN,
        "of seed 41, 43 it is not known how late the threshold is reached: candidate and baseline end above it",
    ),
    (
        "gain", with_test(t=CRITICAL, p_gain=0.0375), with_test(t=CRITICAL + 1e-6),
        "the paired test does not show a gain: t 3.44 of 3 pairs (one-sided p 0.0375), 3.44 is needed at this look",
    ),
    (
        "gain", with_test(t=None), with_test(mean_gain_sec=None),
        "the paired differences do not spread, and there is no evaluation grid to say how much they should",
    ),
    (
        "gain", replace(with_test(t=1.0, p_gain=0.21, mean_gain_sec=0.0), before=(look(),)),
        replace(with_test(t=1.0, p_gain=0.21, mean_gain_sec=0.1), before=(look(),)),
        "the paired test does not show a gain: t 1 of 3 pairs (one-sided p 0.21), 3.44 is needed at this look",
    ),
    (
        "gain", replace(with_test(t=1.0, p_gain=0.21), before=(look(decision="INCONCLUSIVE"),)),
        replace(with_test(t=1.0), critical=None),
        "the paired test does not show a gain: t 1 of 3 pairs (one-sided p 0.21), 3.44 is needed at this look",
    ),
    (
        "grid", with_test(mean_gain_sec=0.5), with_test(mean_gain_sec=0.5001),
        "the mean gain of 0.5 s is within the evaluation grid's resolution of 0.5 s. Evaluate more often "
        "(LANE_B_EVAL_EVERY_LATE).",
    ),
    (
        "grid", with_test(mean_gain_sec=0.001), with_test(mean_gain_sec=0.0),
        "the mean gain of 0.001 s is within the evaluation grid's resolution of 0.5 s. Evaluate more often "
        "(LANE_B_EVAL_EVERY_LATE).",
    ),
    (
        "order", replace(GAIN, waits_for="confirmation"), GAIN,
        "confirmation is tested first and is not accepted (LANE_B_PRIMARY_MODE)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fires", "passes", "sentence"), CASES)
def test_a_condition_fires_at_its_limit_with_its_sentence_and_not_just_inside_it(name, fires, passes, sentence) -> None:
    rule = {condition.name: condition for condition in CONDITIONS}[name]
    assert rule.failure(fires) == sentence
    assert rule.failure(passes) == ""
    assert sentence in why_not_accept(fires)


def test_every_condition_has_a_case_and_a_sure_gain_meets_them_all() -> None:
    assert {name for name, *_ in CASES} == {condition.name for condition in CONDITIONS}
    assert why_not_accept(GAIN) == []
    assert why_reject(GAIN) == ""


def test_what_an_accept_says() -> None:
    assert accept_reason(GAIN) == (
        "3 of 3 candidates reach 1 (a share of 0.25 is required), and 3 paired by seed do so sooner than the baseline, "
        "by 3.97 s on average, 20.8% (one-sided p 0.000441; the evaluation grid resolves 0.5 s)"
    )
    bare = replace(with_test(mean_gain_relative=None), resolution=None, before=(look(),))
    assert accept_reason(bare) == (
        "3 of 3 candidates reach 1 (a share of 0.25 is required), and 3 paired by seed do so sooner than the baseline, "
        "by 3.97 s on average (shown at the look with 2 pairs, t 14.2, and still a gain)"
    )


LOSS = replace(with_test(t_loss=-4.8, p_loss=0.02, mean_high_sec=-0.6), critical_loss=4.7)
LOST = "3 candidates paired by seed are slower than the baseline, by 0.6 s on average at least (one-sided p 0.02)"


@pytest.mark.parametrize(
    ("fires", "passes"),
    [
        (replace(LOSS, critical_loss=4.7999), replace(LOSS, critical_loss=4.8)),
        (replace(LOSS, resolution=0.5999), replace(LOSS, resolution=0.6)),
        (replace(LOSS, resolution=None), with_test(t_loss=None, p_loss=None, mean_high_sec=-0.6)),
        (LOSS, replace(LOSS, critical_loss=None)),
    ],
)
def test_a_loss_rejects_when_it_is_sure_and_beyond_the_grid(fires: Evidence, passes: Evidence) -> None:
    assert why_reject(fires) == LOST
    assert why_reject(passes) == ""


def test_too_small_a_share_rejects_where_every_baseline_reaches_and_two_candidates_ran() -> None:
    level = GAIN.level_of_miss
    assert level == pytest.approx(0.0375 / 2)
    few = replace(ABOVE, reach=reach(1, level - 1e-9).reach)
    assert why_reject(few) == (
        "1 of 3 candidates reach 1, less than the share of 0.25 that is required (one-sided p 0.0187), where every "
        "baseline reaches it. Above it end seed 42 by 0.001 bpb, seed 43 by 0.006 bpb."
    )
    for passes in (
        replace(few, reach=reach(1, level).reach),
        replace(few, reach=reach(1, None).reach),
        replace(few, reach=reach(0, level / 2, of=1).reach),
        replace(few, baseline=()),
        replace(few, baseline=(*few.baseline[:2], few.baseline[2].model_copy(update={"reached": False}))),
    ):
        assert why_reject(passes) == ""
    assert why_reject(replace(few, reach=reach(0, level / 2, of=2).reach)) != ""
