"""The one sentence: right for every way that a lane can stand, and the same wherever it is read."""

import json
from dataclasses import replace

import pytest

from laneb.records.base import finite
from laneb.records.experiment import Experiment
from laneb.records.inference import Inference
from laneb.records.verdict import SeedWinner, Summary
from laneb.report.answer import Answer, answer_of, duration, tokens
from laneb.report.lane import Report, report_of


@pytest.fixture(scope="module")
def report(simulated_once) -> Report:
    lane = simulated_once
    return report_of(lane.store, "simulated", lane.warehouse.current_rows("simulated"))


def test_an_accept_says_what_to_train_for_which_ratio_and_what_it_saves(report) -> None:
    sentence = report.answer.sentence
    assert report.answer.kind == report.verdict.decision == "ACCEPT"
    arm = next(row for row in report.verdict.arms if row.arm == report.verdict.mode)
    assert sentence.startswith(f"Train {arm.steps} steps = {arm.steps * arm.total_batch_size:,} tokens (ratio ")
    assert f"95 % {report.inference.ratio_low:.4g} to {report.inference.ratio_high:.4g}" in sentence
    assert f"{report.verdict.threshold:.4f} bpb" in sentence
    assert "sooner than the baseline, saving about" in sentence
    assert "by the pooled-step clock" in sentence


def test_a_reject_says_not_to(report) -> None:
    answer = judged_as(report, "REJECT", gain=-0.05)
    assert answer.kind == "REJECT"
    assert answer.sentence.startswith("Do not train ")
    assert "5.0 % later than the baseline" in answer.sentence
    assert "saving" not in answer.sentence


def test_an_inconclusive_says_what_would_settle_it(report) -> None:
    answer = judged_as(report, "INCONCLUSIVE", gain=0.01, seeds_needed=8)
    assert answer.sentence.startswith("Not settled: ")
    assert "Next: 8 paired seeds in all (LANE_B_RUN_SEEDS and LANE_B_BASELINE_SEEDS)" in answer.sentence


def test_a_fallback_says_why_no_ratio_is_trusted_and_what_to_do(report) -> None:
    gate = report.inference.gates[0].model_copy(
        update={"passed": False, "severity": "blocking", "message": "the curve rises. Calibrate longer."}
    )
    inference = report.inference.model_copy(update={"promotable": False, "gates": (gate,)})
    answer = answer_of(inference, report.verdict)
    assert answer.kind == "fallback"
    assert answer.sentence.startswith("No ratio to trust: the curve rises. ")
    assert answer.sentence.endswith("Next: calibrate longer")


def test_imported_rows_are_a_tally_and_no_verdict() -> None:
    winners = [SeedWinner(seed=seed, winner="inferred", time_sec=1.0, extrapolated=False) for seed in (41, 42)]
    tally = {"inferred": 2, "confirmation": 0, "fallback": 0, "tie_or_missing": 0}
    summary = Summary(winners=winners, tally=tally, recommended_lane_b_decision="inferred", not_ok_runs=())
    answer = answer_of(None, None, summary)
    assert answer.kind == "imported"
    assert "inferred is fastest for 2 of 2 seeds among candidates" in answer.sentence


def test_before_candidates_the_ratio_and_the_next_step_are_said(finished_simulated_lane) -> None:
    lane = finished_simulated_lane
    for role in lane.store.locations.run_results_dir.glob("laneb_*_s4?.json"):
        if "calib" not in role.name:
            role.unlink()
    report = report_of(lane.store, "simulated", lane.warehouse.current_rows("nothing"))
    assert report.answer.kind == "no candidates yet"
    assert "Next: laneb run" in report.answer.sentence
    assert report.markdown().startswith(f"**{report.answer.sentence}.**")
    json.dumps(finite(report.to_json_dict()), allow_nan=False)


def test_what_a_new_run_will_do_stands_under_the_ratio(report) -> None:
    inference = report.inference.model_copy(
        update={"inferred_reach_probability": 0.5, "confirmation_reach_probability": 0.97, "reach_probability": 0.9,
                "reach_ratio": 2.25, "least_time_ratio": None}
    )  # fmt: skip
    line = replace(report, inference=inference).reach_line()
    assert "0.50 at the inferred ratio, 0.97 at the confirmation, and 0.9 from ratio 2.25 on" in line
    unknown = report.inference.model_copy(update={"inferred_reach_probability": None})
    assert replace(report, inference=unknown).reach_line() == ""


def test_the_tally_is_labelled_as_what_it_is(report) -> None:
    assert "seed tally among candidates" in report.tally_line()
    assert "recommended lane_b_decision: " in report.tally_line()
    for mode in ("inferred", "confirmation"):
        line = replace(report, verdict=report.verdict.model_copy(update={"mode": mode})).tally_line()
        differs = report.summary.recommended_lane_b_decision != mode
        assert (f"(by the candidates alone; the verdict names {mode})" in line) == differs


@pytest.mark.parametrize(
    ("count", "said"),
    [(40576, "40,576 tokens"), (2.5e6, "2.5 million tokens"), (11.9e9, "11.9 billion tokens")],
)
def test_tokens_are_exact_where_short(count, said) -> None:
    assert tokens(count) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(3.37, "3.4 s"), (42, "42 s"), (240, "4 minutes"), (3000, "50 minutes"), (7200, "2 hours")],
)
def test_durations_read_well(seconds, said) -> None:
    assert duration(seconds) == said


def judged_as(report: Report, decision: str, *, gain: float, **of_mode: object) -> Answer:
    """The answer had the named mode been judged so."""
    verdict = report.verdict
    modes = []
    for mode in verdict.modes:
        test = mode.pooled_test.model_copy(update={"mean_gain_relative": gain, "mean_gain_sec": 30 * gain})
        modes.append(mode.model_copy(update={"decision": decision, "pooled_test": test, **of_mode}))
    return answer_of(report.inference, verdict.model_copy(update={"decision": decision, "modes": tuple(modes)}))


def test_the_page_the_markdown_and_the_terminal_say_the_same(simulated_once, report) -> None:
    locations = simulated_once.store.locations
    assert simulated_once.store.has(Experiment) and simulated_once.store.has(Inference)
    assert report.answer.sentence in locations.summary_md.read_text()
    assert report.answer.sentence in locations.report_html.read_text()
    assert report.to_json_dict()["answer"] == report.answer.sentence
