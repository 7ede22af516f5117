"""Each gate fires at its limit, and just inside it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from simulated_lanes import BATCH, loss_at, run, statistics

from laneb.inference import calibration_from, infer_ratio
from laneb.inference.calibration import finals_of
from laneb.inference.exponent import choose_exponent
from laneb.inference.gates import GATES, Facts, judged
from laneb.inference.solution import solution_of_finals
from laneb.inference.warmdown import Warmdown, WarmdownPair
from laneb.knobs import InferenceKnobs

SCATTER = {41: 1.2e-3, 42: -0.5e-3, 43: -0.7e-3}
RUNS = [run(steps, seed, final=loss_at(steps) + SCATTER[seed]) for steps in (750, 1500, 2250) for seed in SCATTER]


def pair(gain: float) -> Warmdown:
    return Warmdown(tokens=750 * BATCH, pairs=(WarmdownPair(41, 750 * BATCH, 0.92, 0.92 + gain),))


def passing() -> Facts:
    """A lane that passes all gates."""
    calibration, knobs = calibration_from(RUNS), InferenceKnobs()
    estimate = infer_ratio(finals_of(calibration), threshold=loss_at(1800), n_scaling_params=1_000_000)
    return Facts(
        stats=statistics(),
        exponent=choose_exponent(statistics(), knobs, calibration, [], []),
        estimate=estimate,
        solution=solution_of_finals(estimate),
        limit_tokens=1e12,
        knobs=knobs,
        runs=len(RUNS),
        unfinished=(),
        warmdown=pair(0.05),
    )


FACTS = passing()
TOKENS = FACTS.solution.tokens
LOW, HIGH = FACTS.exponent_bounds


def exponent(**changes: object) -> Facts:
    return replace(FACTS, exponent=replace(FACTS.exponent, **changes))


def estimate(**changes: object) -> Facts:
    return replace(FACTS, estimate=replace(FACTS.estimate, **changes))


def solution(**changes: object) -> Facts:
    return replace(FACTS, solution=replace(FACTS.solution, **changes))


def placed(factor: float | None, limit: float = 1.5) -> Facts:
    moved = solution(extrapolation_factor=factor)
    return replace(moved, estimate=replace(FACTS.estimate, bracketed=False, extrapolation_limit=limit))


def as_wide_as(share: float) -> Facts:
    """With an interval of half a width of a share of the answer."""
    return solution(interval=((1 - share) * TOKENS, (1 + share) * TOKENS))


AT_BOUND = replace(FACTS.estimate.curve, alpha_at_bound=True)
CASES: list[tuple[str, Facts, Facts]] = [
    ("finished_runs", replace(FACTS, unfinished=("calib_1500_s42 is failed_nan",)), FACTS),
    ("statistics_quality", exponent(weakness="the statistics' fits are weak"), exponent(weakness="")),
    ("plausible_exponent", exponent(usable=False), exponent(usable=True, plausible=False)),
    ("solved", solution(tokens=None, status="noise_exceeds_spread"), solution(tokens=1.0)),
    ("feasible", solution(tokens=1e12 + 1), solution(tokens=1e12)),
    ("feasible", solution(tokens=None, status="invalid_alpha"), FACTS),
    ("fit_quality", solution(exponent=HIGH + 1e-6), solution(exponent=HIGH - 1e-6)),
    ("fit_quality", solution(exponent=LOW - 1e-6), solution(exponent=LOW + 1e-6)),
    ("fit_quality", estimate(curve=AT_BOUND), replace(estimate(curve=AT_BOUND), solution=replace(
        FACTS.solution, method="fixed_alpha"))),
    ("noise_below_spread", estimate(noise_sd=FACTS.estimate.spread), estimate(noise_sd=0.999 * FACTS.estimate.spread)),
    ("bracketed", estimate(bracketed=False), FACTS),
    ("bracketed", solution(extrapolation_factor=1.01), solution(extrapolation_factor=1.0)),
    ("extrapolation", placed(1.5001), placed(1.5)),
    ("extrapolation", placed(1.01, limit=1.0), placed(1.0, limit=1.0)),
    ("extrapolation", placed(None), placed(1.0)),
    ("interval", as_wide_as(0.2001), as_wide_as(0.1999)),
    ("interval", solution(interval=(1.0, float("inf"))), FACTS),
    ("interval", solution(interval=(0.0, float("inf"))), FACTS),
    ("interval", estimate(weak=True), estimate(weak=False)),
    ("warmdown_pays", replace(FACTS, warmdown=pair(0.00229)), replace(FACTS, warmdown=pair(0.00231))),
    ("warmdown_pays", replace(FACTS, warmdown=None), FACTS),
]  # fmt: skip
RULES = {rule.name: rule for rule in GATES}


@pytest.mark.parametrize(("name", "fires", "passes"), CASES)
def test_a_gate_fires_at_its_limit_and_not_just_inside_it(name: str, fires: Facts, passes: Facts) -> None:
    failed, passed = judged(RULES[name], fires), judged(RULES[name], passes)
    assert (failed.passed, passed.passed) == (False, True)
    remedy = RULES[name].remedy(fires)
    assert failed.message.endswith(remedy)
    assert "LANE_B_" in remedy or "Calibrate as `solved`" in remedy
    assert remedy not in passed.message


def test_a_gate_that_fires_leaves_the_others_alone() -> None:
    for name, fires, _ in CASES:
        others = {"solved", "feasible", "bracketed", "extrapolation", "interval", "fit_quality"} - {name}
        for rule in GATES:
            if rule.name != name and rule.name not in others:
                assert judged(rule, fires).passed, (name, rule.name)


def test_all_cases_are_covered_and_the_lane_passes_them_all() -> None:
    assert {name for name, _, _ in CASES} == {rule.name for rule in GATES}
    assert all(judged(rule, FACTS).passed for rule in GATES)


def severity(name: str, facts: Facts) -> str:
    return judged(RULES[name], facts).severity


@pytest.mark.parametrize(
    ("name", "blocking"),
    [
        ("finished_runs", True), ("statistics_quality", False), ("plausible_exponent", True), ("solved", True),
        ("feasible", True), ("fit_quality", False), ("noise_below_spread", True), ("bracketed", False),
        ("extrapolation", True), ("interval", False), ("warmdown_pays", False),
    ],
)  # fmt: skip
def test_what_would_be_wrong_blocks_and_what_would_be_weak_warns(name: str, blocking: bool) -> None:
    assert severity(name, FACTS) == ("blocking" if blocking else "warning")


def test_a_fit_that_the_answer_rests_on_blocks_and_an_allowed_horizon_warns() -> None:
    assert severity("fit_quality", estimate(bracketed=False)) == "blocking"
    assert severity("fit_quality", solution(method="fixed_alpha")) == "blocking"
    allowed = replace(FACTS, knobs=InferenceKnobs(allow_unreachable=True))
    assert severity("feasible", allowed) == "warning"
    unsolved = replace(allowed, solution=replace(FACTS.solution, tokens=None, status="invalid_alpha"))
    assert severity("feasible", unsolved) == "blocking"


NUMBERS: list[tuple[str, Facts, Callable[[], tuple[float | None, float | None]]]] = [
    ("finished_runs", replace(FACTS, unfinished=("a", "b")), lambda: (7.0, 9.0)),
    ("statistics_quality", FACTS, lambda: (0.99, None)),
    ("plausible_exponent", exponent(alpha=0.9), lambda: (0.9, 0.8)),
    ("plausible_exponent", exponent(alpha=None), lambda: (None, 0.2)),
    ("solved", FACTS, lambda: (TOKENS, None)),
    ("feasible", FACTS, lambda: (TOKENS, 1e12)),
    ("fit_quality", solution(exponent=3.5), lambda: (3.5, FACTS.estimate.own_alpha_interval[1])),
    ("fit_quality", solution(exponent=0.1), lambda: (0.1, FACTS.estimate.own_alpha_interval[0])),
    ("noise_below_spread", FACTS, lambda: (FACTS.estimate.noise_sd, FACTS.estimate.spread)),
    ("bracketed", FACTS, lambda: (TOKENS, 2250.0 * BATCH)),
    ("extrapolation", placed(1.2), lambda: (1.2, 1.5)),
    ("interval", as_wide_as(0.1), lambda: (0.1, 0.2)),
    ("interval", solution(interval=(1.0, float("inf"))), lambda: (None, 0.2)),
    ("warmdown_pays", FACTS, lambda: (0.05, 0.0025 * 0.92)),
    ("warmdown_pays", replace(FACTS, warmdown=None), lambda: (None, None)),
]


@pytest.mark.parametrize(("name", "facts", "numbers"), NUMBERS)
def test_a_gate_shows_its_number_and_its_limit(
    name: str, facts: Facts, numbers: Callable[[], tuple[float | None, float | None]]
) -> None:
    gate, (value, limit) = judged(RULES[name], facts), numbers()
    for shown, meant in ((gate.value, value), (gate.limit, limit)):
        assert shown == (None if meant is None else pytest.approx(meant))


def test_runs_that_did_not_finish_are_named() -> None:
    rule = RULES["finished_runs"]
    assert judged(rule, replace(FACTS, runs=4)).message == "all 4 calibration runs finished"
    lacking = replace(FACTS, unfinished=("calib_1500_s42 is failed_nan", "calib_750_s41 ended early"))
    assert judged(rule, lacking).message.startswith("calib_1500_s42 is failed_nan; calib_750_s41 ended early. Rerun")
