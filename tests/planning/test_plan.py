"""What a design can find out, and what to run next."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from laneb.planning import design_problems, plan_of, runs_of, surface_like
from laneb.records.plan import Plan
from laneb.settings import load_settings, read_overrides
from laneb.training.surface import read_surface


def settings_of(tmp_path, **environ: str):
    return load_settings("tiny", environ={"NANOCHAT_BASE_DIR": str(tmp_path), **environ})


def laneb(lane, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "laneb_assets.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=lane.environment())


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
        ({"LANE_B_RUN_SEEDS": "41,42", "LANE_B_SIMULATED_SURFACE": "{noisy}"}, "even a gain of 10% would be accepted"),
        ({"LANE_B_RUN_SEEDS": "41,42,43"}, ""),
    ],
)
def test_a_hopeless_design_is_called_one(tmp_path, environ, said) -> None:
    noisy = tmp_path / "noisy.toml"
    noisy.write_text("noise_sd = 0.01\n", encoding="utf-8")
    environ = {name: value.format(noisy=noisy) for name, value in environ.items()}
    problems = plan_of(settings_of(tmp_path, **environ), neighbours=False).problems
    assert any(said in problem for problem in problems) if said else problems == ()


def test_power_grows_with_the_gain_and_with_seeds(tmp_path) -> None:
    plan = plan_of(settings_of(tmp_path, LANE_B_RUN_SEEDS="41,42,43"))
    by_name = {row.name: row for row in plan.forecasts}
    stands, more, less = (by_name[name] for name in ("as it stands", "one seed more", "one seed less"))
    assert stands.power["0.02"] <= stands.power["0.05"] <= stands.power["0.1"]
    assert less.power["0.02"] < stands.power["0.02"] <= more.power["0.02"]
    assert less.train_sec < stands.train_sec < more.train_sec
    assert by_name["one horizon more"].horizons == stands.horizons + 1
    assert plan.next_step is None and "guess" in plan.assumed_from
    assert Plan.from_json(plan.to_json()) == plan


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
    said = laneb(finished_simulated_lane, "simulate", "--like", str(path))
    assert said.returncode == 0, said.stderr
    written = read_surface(str(path))
    lane = finished_simulated_lane
    assert written == surface_like(runs_of(lane.store, lane.settings), read_surface(str(lane.folder / "surface.toml")))
    nothing = laneb(finished_simulated_lane, "simulate", "--like", str(path), "--work-dir", str(tmp_path / "empty"))
    assert nothing.returncode == 2 and "there is no surface to write" in nothing.stderr


def test_the_lane_keeps_its_plan_from_before_it_trained(simulated_once) -> None:
    kept = simulated_once.store.read(Plan)
    assert "surface.toml" in kept.assumed_from and kept.next_step is None
    fresh = plan_of(simulated_once.settings)
    assert (kept.forecasts, kept.problems) == (fresh.forecasts, fresh.problems)


def test_after_calibration_the_next_step_can_be_kept_as_an_override(finished_simulated_lane) -> None:
    said = laneb(finished_simulated_lane, "plan", "--set-next", "--json")
    assert said.returncode == 0, said.stderr
    plan = Plan.from_json(said.stdout)
    step = plan.next_step
    assert step is not None and "finished runs" in plan.assumed_from
    assert step.half_width_then < step.half_width_now and step.train_sec > 0
    assert read_overrides(finished_simulated_lane.settings.locations)[step.key] == list(step.value)
    again = load_settings(str(finished_simulated_lane.profile))
    assert tuple(getattr(again.calibration, step.key.partition(".")[2])) == step.value


def test_the_commands_say_what_to_expect(simulated_lane) -> None:
    planned = laneb(simulated_lane, "plan")
    assert planned.returncode == 0, planned.stderr
    assert "one seed more" in planned.stdout and "surface.toml" in planned.stdout
    nothing = laneb(simulated_lane, "plan", "--set-next")
    assert nothing.returncode == 2 and "there is no next step" in nothing.stderr
    played = laneb(simulated_lane, "simulate", "--lanes", "5", "--json")
    assert played.returncode == 0, played.stderr
    outcomes = json.loads(played.stdout)
    assert outcomes["lanes"] == 5
    assert sum(outcomes["decisions"].values()) == pytest.approx(1)
    refused = laneb(simulated_lane, "simulate", "--looks", "5,x")
    assert refused.returncode == 2 and "numbers of seeds" in refused.stderr
