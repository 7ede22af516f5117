"""Whole lanes of known truth: a short version of benchmarks/operating_characteristics.py."""

from __future__ import annotations

import numpy as np
import pytest

from laneb.plan import planned_runs
from laneb.planning import Design, simulate_lanes
from laneb.planning.lanes import play_lane
from laneb.training.backends.simulated import simulated_bpb
from laneb.training.surface import Surface

LANES = 60
SURFACE = Surface(asymptote=0.7, amplitude=0.3, exponent=0.3, warmdown_gain=0.1, seed_sd=1.34e-3, noise_sd=0.32e-3)


DESIGN = Design(
    surface=SURFACE, tokens_per_step=128, n_scaling_params=22_560, baseline_steps=400,
    calibration_steps=(240, 320), eval_every=60, eval_every_late=2,
)  # fmt: skip


def test_a_gain_of_five_sd_is_accepted_at_three_seeds_and_no_less_often_with_more() -> None:
    at = DESIGN.with_effect(5.0, 1.0)
    outcomes = {seeds: simulate_lanes(at, lanes=LANES, looks=(seeds,)) for seeds in (2, 3, 6)}
    for mode in ("confirmation", "inferred"):
        shares = [outcomes[seeds].modes[mode] for seeds in (2, 3, 6)]
        assert shares[1] >= 0.8, mode
        assert shares[2] >= shares[1] - 0.05, mode
    assert outcomes[2].modes["confirmation"] < 0.6
    assert outcomes[3].decisions["REJECT"] == 0


def test_lanes_without_a_gain_end_in_a_verdict_as_rarely_as_promised_over_four_looks() -> None:
    outcomes = simulate_lanes(DESIGN, lanes=LANES, gain=0.0, looks=(3, 4, 5, 6))
    # 5 % of 60 lanes, and what chance adds to it in one of a thousand such tests.
    assert outcomes.ever["ACCEPT"] <= 9 / LANES
    assert outcomes.ever["REJECT"] <= 9 / LANES
    assert outcomes.true_gain == 0


def test_intervals_of_simulated_lanes_cover_the_true_ratio() -> None:
    outcomes = simulate_lanes(DESIGN, lanes=LANES)
    assert outcomes.coverage is not None and outcomes.coverage >= 0.88
    assert outcomes.half_width is not None and 0 < outcomes.half_width < 0.1


def test_a_lane_goes_on_with_its_runs_when_it_is_looked_at_again() -> None:
    first, second = play_lane(DESIGN, (3, 5), np.random.default_rng(1))
    assert second.train_sec > first.train_sec
    assert first.verdict is not None and second.verdict is not None
    known = {row.run_id: row.min_val_bpb for row in first.verdict.arms if row.arm == "baseline"}
    again = {row.run_id: row.min_val_bpb for row in second.verdict.arms if row.arm == "baseline"}
    assert known.items() <= again.items()
    assert second.verdict.modes[0].look.spent > first.verdict.modes[0].look.spent


def test_the_same_draws_give_the_same_lanes() -> None:
    one, two = (simulate_lanes(DESIGN, lanes=5, seed=3) for _ in range(2))
    assert one == two
    assert simulate_lanes(DESIGN, lanes=5, seed=4) != one


def test_a_stated_gain_is_the_gain_of_runs_without_noise() -> None:
    at = DESIGN.with_gain(0.08)
    assert at.true_gain() == pytest.approx(0.08, abs=1e-6)
    assert at.surface.warmdown_gain != SURFACE.warmdown_gain
    quiet = Design(**{**vars(at), "surface": at.surface.model_copy(update={"seed_sd": 0.0, "noise_sd": 0.0})})
    [lane] = play_lane(quiet, (3,), np.random.default_rng(1))
    assert lane.verdict is not None
    assert lane.verdict.modes[0].pooled_test.mean_gain_relative == pytest.approx(0.08, abs=0.01)
    with pytest.raises(ValueError, match=r"a true gain of 0\.9: with this baseline and offset it is between 0 and"):
        DESIGN.with_gain(0.9)


def test_planned_lanes_lie_on_the_surface_that_simulated_runs_are_drawn_from(simulated_lane) -> None:
    spec = planned_runs(simulated_lane.settings)[0].spec.model_copy(update={"surface": SURFACE})
    same = Design(SURFACE, spec.total_batch_size, spec.n_scaling_params, baseline_steps=400)
    own = SURFACE.seed_effect(41) + SURFACE.noise(41, 400 * spec.total_batch_size)
    for step in (100, 250, 330, 400):
        assert same.bpb(step, 400) + own == pytest.approx(simulated_bpb(spec, SURFACE, step))


@pytest.mark.parametrize(
    ("options", "message"), [({"lanes": 0}, "0 lanes: at least one"), ({"looks": (5, 3)}, "looks at 5, 3 seeds")]
)
def test_what_can_not_be_played_is_refused(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        simulate_lanes(DESIGN, **options)
