"""Refusals, findings and answers at the edges of what can be asked, to the letter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from simulated_lanes import BATCH, finals, loss_at, run

from laneb.inference import LossCurve, calibration_from, fit_loss_curve, infer_ratio, solve_horizon
from laneb.inference.exponent import search_on_baselines
from laneb.inference.horizon import Horizon
from laneb.inference.loss_estimate import Interpolation
from laneb.inference.parametric import ParametricLaw
from laneb.inference.sensitivity import sensitivity_table
from laneb.knobs import InferenceKnobs

POINTS = finals(horizons=(750, 1500, 3000), draw=6)


def answered(**options: object):
    return infer_ratio(POINTS, threshold=loss_at(1800), n_scaling_params=BATCH, **options)


REFUSALS = [
    (
        lambda: answered(alpha=0.4, alpha_prior=(0.4, 0.1)),
        "alpha and alpha_prior: alpha is the mean of a prior itself; give one of them",
    ),
    (lambda: answered(offset=math.nan), "offset nan is not allowed; it is a finite number [bpb]"),
    (lambda: answered().reach(2), "probability 2 is not allowed; it is a finite number between 0 and 1"),
    (
        lambda: fit_loss_curve([1e8, 2e8, 4e8], [1.0, 0.9, 0.8], asymptote_bounds=(math.nan, 1.0)),
        "asymptote_bounds nan is not allowed; it is a finite number",
    ),
    (
        lambda: infer_ratio(POINTS.assign(horizon_tokens=POINTS["tokens"] + 1), threshold=1.0, n_scaling_params=1),
        "point 1 was taken at 393,216,000 tokens of a run with a horizon of 393,216,001: a within-run point has not "
        "warmed down, so it is not on the loss curve. Use the finals of finished runs only.",
    ),
]


@pytest.mark.parametrize(("call", "said"), REFUSALS, ids=[said[:30] for _, said in REFUSALS])
def test_what_can_not_be_inferred_is_said_whole(call, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        call()
    assert str(refused.value) == said


def test_a_horizon_too_short_for_a_float_is_no_answer() -> None:
    assert solve_horizon(LossCurve(1e-300, 0.0, 0.1), 1e3) == Horizon(None, "non_finite_target_tokens")


def test_one_scaling_parameter_is_enough() -> None:
    answer = infer_ratio(POINTS, threshold=loss_at(1800), n_scaling_params=1)
    assert answer.ratio == answer.tokens


def test_calibration_of_one_run_says_where_its_points_come_from() -> None:
    alone = calibration_from([run(750, 41)])
    assert (alone.mode, len(alone.points)) == ("finished_runs", 1)
    joined = calibration_from([run(750, 41)], baselines=[run(1500, 41, run_id="baseline")])
    assert (joined.mode, len(joined.points)) == ("finished_runs_and_baselines", 2)


def test_the_baselines_exponent_is_looked_for_up_to_the_end_of_its_grid_and_no_further() -> None:
    on_the_curve = [run(1500, 41, trunk_excess=0.0)]
    found = [
        search_on_baselines(
            on_the_curve,
            InferenceKnobs(baseline_alpha_grid_min=0.1, baseline_alpha_grid_max=highest, baseline_alpha_grid_step=0.1),
            [41],
        ).alpha
        for highest in (0.3, 0.4, 0.6)
    ]
    assert found == pytest.approx([0.3, 0.4, 0.4])


def test_levels_that_are_all_one_are_one_everywhere() -> None:
    flat = Interpolation(np.array([1.0]), np.array([0.9]), np.array([[0.5, 0.5]]), 1e8, 0.4, monotone=False)
    loss, weights = flat.at(np.array([1e8, 2e8, 3e8]))
    assert loss.tolist() == [0.9] * 3
    assert weights.tolist() == [[0.5, 0.5]] * 3
    assert not flat.brackets(0.9)


def test_effects_of_seeds_are_losses_with_either_estimator() -> None:
    options = {"tokens": POINTS["tokens"], "losses": POINTS["loss"], "seeds": POINTS["seed"].tolist()}
    least, huber = (fit_loss_curve(**options, method=method).seed_effects for method in ("least_squares", "huber"))
    assert huber == pytest.approx(least, rel=0.03, abs=2e-5)
    assert max(least.values()) > 1e-4


def test_a_general_laws_loss_is_its_formula() -> None:
    law = ParametricLaw(**{**dict.fromkeys(ParametricLaw.__dataclass_fields__, 0.0), "E": 1.5, "A": 400.0,
                           "B": 2000.0, "alpha": 0.34, "beta": 0.37})  # fmt: skip
    sizes, tokens = np.array([1e8, 1e9]), np.array([[2e9], [3e10]])
    by_hand = [[1.5 + 400 * n**-0.34 + 2000 * d**-0.37 for n in (1e8, 1e9)] for d in (2e9, 3e10)]
    assert law.loss(sizes, tokens) == pytest.approx(np.array(by_hand))


def test_points_without_a_name_are_called_by_their_place() -> None:
    changes = [row.change for row in sensitivity_table(POINTS, answered()) if row.what == "point"]
    assert changes[0] == "without (393,216,000 tokens, seed 41)"
