"""What a design can find out, and what to run next."""

from __future__ import annotations

import html
import json

import numpy as np
import pytest

from laneb.planning import Design, design_problems, plan_of, runs_of, simulate_lanes, surface_like
from laneb.planning.forecast import power_of
from laneb.planning.lanes import Runs
from laneb.planning.next_step import next_step
from laneb.records.plan import Plan
from laneb.report.plan import assumptions, next_sentence
from laneb.settings import load_settings, read_overrides
from laneb.storage.overrides import write_overrides
from laneb.training.surface import read_surface
from laneb_assets.automation.decisions import next_runs
from laneb_assets.automation.staleness import Staleness

FINE_GRID = {"LANE_B_EVAL_EVERY": "2", "LANE_B_EVAL_EVERY_LATE": "2"}


def settings_of(tmp_path, **environ: str):
    return load_settings("tiny", environ={"NANOCHAT_BASE_DIR": str(tmp_path), **environ})


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"LANE_B_RUN_SEEDS": "41"}, "1 paired seed(s) can't show a gain, whatever it is"),
        ({"LANE_B_RUN_SEEDS": "91,92"}, "candidates of seed 91,92 have no baseline to be paired with"),
        ({"LANE_B_RUN_SEEDS": "41,42"}, "two paired seeds show a gain only if it is 9 times their spread"),
        ({"LANE_B_RUN_SEEDS": "41,42,43", "LANE_B_CALIB_SEEDS": "71,72"}, "none of the baselines'"),
    ],
)
def test_a_design_that_can_hardly_be_accepted_is_said_before_training(tmp_path, environ, said) -> None:
    assert any(said in problem for problem in design_problems(settings_of(tmp_path, **environ)))


def test_a_sound_design_has_no_problem(tmp_path) -> None:
    assert design_problems(settings_of(tmp_path, LANE_B_RUN_SEEDS="41,42,43")) == []


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"LANE_B_RUN_SEEDS": "41,42", "LANE_B_THRESHOLD_OFFSET": "0.0001"}, "not even a gain of 2% is possible"),
        ({"LANE_B_RUN_SEEDS": "41,42", "LANE_B_THRESHOLD_OFFSET": "1.0"}, "no ratio is expected of this design"),
        (
            {"LANE_B_RUN_SEEDS": "41,42", "LANE_B_SIMULATED_SURFACE": "{noisy}", **FINE_GRID},
            "even a gain of 10% would be accepted with a probability of 0.",
        ),
        (
            {"LANE_B_RUN_SEEDS": "41,42,43", "LANE_B_EVAL_EVERY": "200", "LANE_B_EVAL_EVERY_LATE": "100"},
            "not even a gain of 10% would be accepted, for it lies within the evaluation grid",
        ),
        ({"LANE_B_RUN_SEEDS": "41,42,43", "LANE_B_CALIB_SEEDS": "42"}, "no interval is expected of this design"),
        ({"LANE_B_RUN_SEEDS": "41,42,43"}, ""),
    ],
)
def test_a_hopeless_design_is_called_one(tmp_path, environ, said) -> None:
    noisy = tmp_path / "noisy.toml"
    noisy.write_text("noise_sd = 0.03\n", encoding="utf-8")
    environ = {name: value.format(noisy=noisy) for name, value in environ.items()}
    problems = plan_of(settings_of(tmp_path, **environ), neighbours=False).problems
    assert any(said in problem for problem in problems) if said else problems == ()


def test_power_grows_with_the_gain_and_with_seeds(tmp_path) -> None:
    plan = plan_of(settings_of(tmp_path, LANE_B_RUN_SEEDS="41,42,43", **FINE_GRID))
    by_name = {row.name: row for row in plan.forecasts}
    stands, more, less = (by_name[name] for name in ("as it stands", "one seed more", "one seed less"))
    assert stands.power["0.02"] <= stands.power["0.05"] <= stands.power["0.1"]
    assert less.power["0.02"] < stands.power["0.02"] <= more.power["0.02"]
    assert less.train_sec < stands.train_sec < more.train_sec
    assert by_name["one horizon more"].horizons == stands.horizons + 1
    # One calibration seed less is one, which can't tell its noise.
    assert less.half_width is None and "nothing measures how runs scatter" in assumptions(plan)
    assert plan.next_step is None and "guess" in plan.assumed_from
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(("late", "pairs"), [(2, 2), (2, 3), (20, 3)])
def test_the_power_that_is_planned_is_the_share_of_simulated_lanes_that_are_accepted(tmp_path, late, pairs) -> None:
    every = {"LANE_B_EVAL_EVERY": str(late), "LANE_B_EVAL_EVERY_LATE": str(late)}
    design = Design.of(settings_of(tmp_path, **every)).with_seeds(pairs)
    for gain in (0.02, 0.06):
        at = design.with_gain(gain)
        accepted = simulate_lanes(at, lanes=40).modes["confirmation"]
        # Three standard errors of a share of 40 lanes are at most 0.24.
        assert power_of(at, pairs) == pytest.approx(accepted, abs=0.24)


def test_no_gain_within_the_evaluation_grid_is_planned_to_be_accepted(tmp_path) -> None:
    plan = plan_of(settings_of(tmp_path, LANE_B_RUN_SEEDS="41,42,43"), neighbours=False)
    [stands] = plan.forecasts
    assert stands.least_gain > 0.1 and set(stands.power.values()) == {0.0}
    assert stands.gain > stands.least_gain and stands.power_at_gain == 1.0
    assert f"No gain below {stands.least_gain:.1%} can be accepted" in assumptions(plan)
    assert plan.problems == ()


def test_after_one_calibration_seed_the_next_step_is_the_one_that_gives_an_interval() -> None:
    """Finals of one seed at three horizons, its baseline among them: no noise is measured until another seed runs."""
    settings = load_settings("tiny", environ={"LANE_B_CALIB_SEEDS": "41", "LANE_B_BASELINE_SEEDS": "41,42,43"})
    design = Design.of(settings)
    lane = Runs(design, np.random.default_rng(3))
    runs = [*lane.baselines(design), *(lane.of(steps, 0) for steps in design.calibration_steps)]
    runs = [run.model_copy(update={"seed": 41 + run.seed}) for run in runs]
    step = next_step(settings, design, runs)
    assert step is not None and step.half_width_now is None and step.half_width_then < 0.1
    assert "the interval goes from no interval to about" in next_sentence(step)


def test_runs_that_were_drawn_from_a_surface_give_it_back(simulated_once) -> None:
    runs = runs_of(simulated_once.store, simulated_once.settings)
    truth = read_surface(str(simulated_once.folder / "surface.toml"))
    found = surface_like(runs)
    assert len(runs) == 7 and found is not None
    ratios = [run.realised_ratio for run in runs]
    assert [found.loss(ratio) for ratio in ratios] == pytest.approx([truth.loss(ratio) for ratio in ratios], abs=0.003)
    assert found.warmdown_gain == pytest.approx(truth.warmdown_gain, abs=0.02)
    assert found.seconds_per_step == truth.seconds_per_step
    assert surface_like(runs[:2]) is None


def test_the_surface_of_a_finished_lane_can_be_written_and_drawn_from(finished_simulated_lane, tmp_path) -> None:
    path = tmp_path / "like.toml"
    said = finished_simulated_lane.laneb("simulate", "--like", str(path))
    assert said.returncode == 0, said.stderr
    written = read_surface(str(path))
    lane = finished_simulated_lane
    assert written == surface_like(runs_of(lane.store, lane.settings), read_surface(str(lane.folder / "surface.toml")))
    nothing = finished_simulated_lane.laneb("simulate", "--like", str(path), "--work-dir", str(tmp_path / "empty"))
    assert nothing.returncode == 2 and "there is no surface to write" in nothing.stderr


def test_the_lane_plans_before_it_trains_and_again_when_it_is_calibrated(simulated_once) -> None:
    lane = simulated_once
    assets, _ = lane.assets()
    with lane.instance() as instance:
        made = {
            name: sorted(record.storage_id for record in instance.fetch_materializations(assets.key(name), 50).records)
            for name in ("lane_b_plan", "baseline_runs", "calibration_points")
        }
    early, late = made["lane_b_plan"]
    assert early < made["baseline_runs"][0]
    assert made["calibration_points"][-1] < late
    kept = lane.store.read(Plan)
    fresh = plan_of(lane.settings, runs_of(lane.store, lane.settings))
    assert kept.assumed_from == (
        "this experiment's 7 finished runs; simulated, so that training times are the surface's"
    )
    assert kept.next_step is not None
    assert (kept.forecasts, kept.problems, kept.next_step) == (fresh.forecasts, fresh.problems, fresh.next_step)
    page = lane.settings.locations.report_html.read_text(encoding="utf-8")
    assert html.escape(next_sentence(kept.next_step)[1:]) in page


def test_a_followed_plan_is_renewed_by_the_runs_that_it_asked_for(finished_simulated_lane) -> None:
    lane = finished_simulated_lane
    before = lane.store.read(Plan).next_step
    assert before is not None
    write_overrides(lane.settings.locations, {before.key: list(before.value)})
    names = [outcome.step.asset for outcome in lane.run() if outcome.state == "done"]
    assert [name for name in names if name in ("lane_b_plan", "calibration_runs", "calibration_points")][-2:] == [
        "calibration_points", "lane_b_plan",
    ]  # fmt: skip
    after = lane.store.read(Plan).next_step
    assert after is None or (after.key, after.value) != (before.key, before.value)


def test_new_points_show_the_plan_as_stale_and_the_sensors_make_it_again(finished_simulated_lane) -> None:
    lane = finished_simulated_lane
    before = lane.store.read(Plan)
    assets, _ = lane.assets()
    with lane.instance() as instance:
        assert Staleness(assets, instance).of("lane_b_plan").fresh
    # A seed whose runs end lower moves the points; the plan is not asked for.
    write_overrides(lane.settings.locations, {"baseline.seeds": [41, 42, 44]})
    for asset, partition in (("experiment", None), ("baseline_runs", "44")):
        assert lane.materialize(asset, partition).state == "done"
    assets, _ = lane.assets()
    with lane.instance() as instance:
        [request] = next_runs(Staleness(assets, instance))
        assert assets.key("lane_b_plan") in request.asset_selection
    assert lane.materialize("baseline_results").state == "done"
    assert lane.materialize("lane_b_plan").state == "done"
    assert lane.materialize("calibration_points").state == "done"
    assets, _ = lane.assets()
    with lane.instance() as instance:
        found = Staleness(assets, instance).of("lane_b_plan")
    assert (found.fresh, found.changed) == (False, ("calibration_points",))
    assert before.assumed_from.startswith("this experiment's 7 finished runs")


def test_after_calibration_the_next_step_can_be_kept_as_an_override(finished_simulated_lane) -> None:
    said = finished_simulated_lane.laneb("plan", "--set-next", "--json")
    assert said.returncode == 0, said.stderr
    plan = Plan.from_json(said.stdout)
    step = plan.next_step
    assert step is not None and "finished runs" in plan.assumed_from
    assert step.half_width_then < step.half_width_now and step.train_sec > 0
    assert read_overrides(finished_simulated_lane.settings.locations)[step.key] == list(step.value)
    again = load_settings(str(finished_simulated_lane.profile))
    assert tuple(getattr(again.calibration, step.key.partition(".")[2])) == step.value


def test_the_commands_say_what_to_expect(simulated_lane) -> None:
    planned = simulated_lane.laneb("plan")
    assert planned.returncode == 0, planned.stderr
    assert "one seed more" in planned.stdout and "surface.toml" in planned.stdout
    nothing = simulated_lane.laneb("plan", "--set-next")
    assert nothing.returncode == 2 and "there is no next step" in nothing.stderr
    played = simulated_lane.laneb("simulate", "--lanes", "5", "--json")
    assert played.returncode == 0, played.stderr
    outcomes = json.loads(played.stdout)
    assert outcomes["lanes"] == 5
    assert sum(outcomes["decisions"].values()) == pytest.approx(1)
    refused = simulated_lane.laneb("simulate", "--looks", "5,x")
    assert refused.returncode == 2 and "numbers of seeds" in refused.stderr
