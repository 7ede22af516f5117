"""Runs that are drawn from a loss surface instead of trained."""

import json
import math
import subprocess
import sys
from statistics import fmean, stdev

import pytest
from run_facts import facts, lines

from laneb.records.runs import RunResult
from laneb.training.backends.simulated import simulate, simulated_bpb
from laneb.training.estimate import estimate
from laneb.training.interruption import Interrupted, StopRequest
from laneb.training.log import parse_log
from laneb.training.spec import RunSpec
from laneb.training.surface import Surface, read_surface

QUIET = Surface(seed_sd=0, noise_sd=0)


def spec_on(runs, surface: Surface = QUIET, **knobs) -> RunSpec:
    return runs.spec(backend="simulated", **knobs).model_copy(update={"surface": surface})


def test_the_child_process_gives_a_whole_run_without_torch_or_numpy(runs) -> None:
    spec = spec_on(runs, steps=200)
    run_dir = runs.prepared(spec)
    code = (
        "import sys, laneb.training.__main__ as child; "
        f"status = child.main([{str(run_dir / 'spec.json')!r}]); "
        "sys.exit(status or ' '.join({'torch', 'numpy', 'pandas', 'dagster'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr.strip() == ""
    result = RunResult.from_json((run_dir / "result.json").read_text())
    assert (result.status, result.backend, result.steps, result.fingerprint) == (
        "ok",
        "simulated",
        200,
        spec.fingerprint,
    )
    assert sorted(path.name for path in run_dir.iterdir()) == ["events.jsonl", "result.json", "spec.json", "train.log"]


def test_a_finished_run_ends_on_the_surface_and_lies_the_warmdowns_gain_above_it_before(runs, tmp_path) -> None:
    surface = Surface(seed_sd=0, noise_sd=0, warmdown_gain=0.1, warmdown_power=1.0)
    spec = spec_on(runs, surface, steps=100)
    run = simulate(spec, tmp_path, StopRequest())
    assert run.final_val_bpb == pytest.approx(surface.loss(run.realised_ratio))
    at = {step: simulated_bpb(spec, surface, step) - surface.loss(step / 100 * run.realised_ratio) for step in (50, 75)}
    assert at == pytest.approx({50: 0.1, 75: 0.05})


def test_the_log_is_read_back_as_any_runs(runs, tmp_path) -> None:
    run = simulate(spec_on(runs, steps=60), tmp_path, StopRequest())
    log = parse_log(tmp_path / "train.log")
    assert (log.status, log.complete, log.total_batch_size) == ("ok", True, 128)
    assert log.min_val_bpb == pytest.approx(run.min_val_bpb, abs=1e-6)
    assert [step for step, _ in log.val_curve] == [point.step for point in run.val_curve]
    assert log.dt_median_ms == 100.0
    assert run.total_training_time_sec == pytest.approx(5.0)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events if event["event"] != "step"][:2] == ["start", "evaluation"]
    assert events[-1] == {"event": "end", "status": "ok", "step": 60}


def test_a_run_is_a_function_of_its_spec_alone(runs, tmp_path) -> None:
    spec = spec_on(runs, Surface(), steps=40)
    first, second = (
        simulate(spec, tmp_path / name, StopRequest()) for name in ("a", "b") if not (tmp_path / name).mkdir()
    )
    assert facts(first) == facts(second)
    assert first.wall_time_sec == second.wall_time_sec
    other = simulate(spec_on(runs, Surface(draw=1), steps=40), tmp_path, StopRequest())
    assert other.fingerprint != first.fingerprint
    assert other.final_val_bpb != first.final_val_bpb


def test_seed_effects_carry_over_and_noise_does_not(runs) -> None:
    surface = Surface(seed_sd=1e-3, noise_sd=3e-4)
    own = {
        steps: [
            simulated_bpb(spec := spec_on(runs, surface, steps=steps, seed=seed), surface, steps)
            - surface.loss(spec.realised_ratio)
            for seed in range(400)
        ]
        for steps in (40, 80)
    }
    both = [fmean(pair) for pair in zip(*own.values(), strict=True)]
    between = [first - second for first, second in zip(*own.values(), strict=True)]
    assert stdev(own[40]) == pytest.approx(math.hypot(1e-3, 3e-4), rel=0.1)
    assert stdev(both) == pytest.approx(math.hypot(1e-3, 3e-4 / math.sqrt(2)), rel=0.1)
    assert stdev(between) == pytest.approx(3e-4 * math.sqrt(2), rel=0.1)


def test_the_surface_is_in_the_identity_of_simulated_runs_and_of_no_other(runs, tmp_path) -> None:
    path = tmp_path / "surface.toml"
    path.write_text("exponent = 0.4")
    spec = runs.spec(backend="simulated", simulated_surface=str(path))
    assert spec.surface == Surface(exponent=0.4)
    path.write_text("exponent = 0.4 # the same numbers")
    assert runs.spec(backend="simulated", simulated_surface=str(path)).fingerprint == spec.fingerprint
    path.write_text("exponent = 0.5")
    changed = runs.spec(backend="simulated", simulated_surface=str(path))
    assert changed.fingerprint != spec.fingerprint
    assert changed.recipe != spec.recipe
    assert runs.spec(simulated_surface=str(path)).surface is None
    assert RunSpec.model_validate_json(spec.to_json()) == spec


def test_a_seed_that_loses_its_numbers_fails_as_a_trained_one_does(runs, tmp_path) -> None:
    run = simulate(spec_on(runs, Surface(nan_seeds=(41,)), steps=40), tmp_path, StopRequest())
    assert (run.status, run.steps) == ("failed_nan", 21)
    assert parse_log(tmp_path / "train.log").status == "failed_nan"


def test_a_run_that_is_told_to_stop_leaves_no_result(runs, tmp_path) -> None:
    class Stopped(StopRequest):
        def requested(self) -> int:
            return 15

    with pytest.raises(Interrupted):
        simulate(spec_on(runs), tmp_path, Stopped())
    assert not (tmp_path / "result.json").exists()
    assert simulate(spec_on(runs), tmp_path, StopRequest()).status == "ok"
    assert len(lines(tmp_path, "Step 00000")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exponent = -1", "exponent: Input should be greater than 0. A surface has: asymptote, amplitude"),
        ("exponnt = 1", "exponnt: Extra inputs are not permitted"),
        ("exponent = ", "is not valid TOML"),
        (None, "can't be read: No such file"),
    ],
)
def test_a_surface_that_can_not_be_used_is_a_sentence(tmp_path, text, message) -> None:
    path = tmp_path / "surface.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_surface(str(path))


def test_a_spec_without_a_surface_is_refused(runs, tmp_path) -> None:
    with pytest.raises(ValueError, match="takes a loss surface"):
        simulate(runs.spec(), tmp_path, StopRequest())


def test_a_simulated_run_is_estimated_to_cost_nothing(runs) -> None:
    assert estimate(spec_on(runs, steps=100_000)).seconds < 1
    assert estimate(spec_on(runs, Surface(pace=1.0), steps=100)).seconds > 10
