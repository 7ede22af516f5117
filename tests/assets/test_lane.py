"""The lane as Dagster runs it: what is made, of runs that train, and what a change reruns, of runs that don't."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from laneb.plan import planned_runs
from laneb.records.baseline import BaselineThreshold
from laneb.records.calibration import Calibration
from laneb.records.inference import Inference
from laneb.records.statistics import ContextLossDecay
from laneb.storage.overrides import write_overrides
from laneb.storage.schema_table import SCHEMA_COLUMNS, row_from_values
from laneb.training.run_directory import held
from laneb_assets.definitions import definitions_of
from laneb_assets.lane_run.steps import Outcome, Step, steps_of
from laneb_assets.lane_run.walk import run_lane

pytestmark = pytest.mark.slow


def made(outcomes: list[Outcome]) -> list[str]:
    return [
        outcome.step.asset for outcome in outcomes if outcome.state == "done" and outcome.step.asset != "experiment"
    ]


def test_a_finished_lane_leaves_every_file_of_the_contract(finished_once) -> None:
    at = finished_once.settings.locations
    for path in (
        at.baseline_results_csv, at.baseline_threshold_json, at.baseline_threshold_env, at.scaling_json, at.scaling_txt,
        at.stats_json, at.calib_json, at.calib_env, at.infer_json, at.manifest_csv, at.schema_path,
        at.baseline_results_dir / "baseline_d1_s41_train.log", at.log_dir / "laneb_calib_6_s41.log",
    ):  # fmt: skip
        assert path.stat().st_size > 0, path
    for path in (at.baseline_threshold_json, at.scaling_json, at.stats_json, at.calib_json, at.infer_json):
        text = path.read_text(encoding="utf-8")
        assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        assert "NaN" not in text
    assert at.scaling_txt.read_text().strip().isdigit()


def test_the_threshold_is_the_baselines_median_plus_the_offset(finished_once) -> None:
    threshold = finished_once.store.read(BaselineThreshold)
    rows = pd.read_csv(finished_once.settings.locations.baseline_results_csv)
    assert threshold.recommended_target_threshold == pytest.approx(rows["min_val_bpb"].median() + 0.3, abs=1e-6)


def test_gamma_comes_from_the_baselines_loss_by_context(finished_once) -> None:
    decay = finished_once.store.read(ContextLossDecay)
    baselines = [finished_once.store.read_run(f"baseline_s{seed}", "") for seed in (41, 42)]
    assert decay.fingerprints == tuple(run.fingerprint for run in baselines)
    first = [run.context_losses.curve[0].bits for run in baselines]
    assert decay.curve[0].bits == pytest.approx(sum(first) / 2)
    assert decay.gamma is not None
    assert (finished_once.settings.locations.plots_dir / "context_loss.png").exists()
    report = (finished_once.settings.locations.work_dir / "summary.md").read_text()
    assert ("theory's exponent" in report.lower()) == (decay.alpha is not None)


def test_runs_without_a_loss_by_context_give_a_reason_and_hold_nothing_up(finished_lane) -> None:
    store = finished_lane.store
    for seed in (41, 42):
        run_without = store.read_run(f"baseline_s{seed}", "").model_copy(update={"context_losses": None})
        store.write_run(f"baseline_s{seed}", run_without)
    settings = finished_lane.settings
    for asset in ("context_loss", "lane_b_summary"):
        outcome = finished_lane.materialize(asset)
        assert outcome.state == "done", outcome.error
    assert store.read(ContextLossDecay).gamma is None
    assert "trained before" in store.read(ContextLossDecay).reason
    assert "theory's exponent" not in (settings.locations.work_dir / "summary.md").read_text().lower()


def test_a_calibration_run_that_is_a_baseline_too_is_trained_once(finished_once) -> None:
    points = finished_once.store.read(Calibration).points
    assert Counter(point.horizon_tokens for point in points) == {6 * 128: 2, 12 * 128: 2, 18 * 128: 2}
    specs = list(finished_once.settings.locations.runs_dir.glob("*/spec.json"))
    assert len([path for path in specs if json.loads(path.read_text())["steps"] == 12]) == 2


def test_two_partitions_that_want_the_same_run_at_once_train_it_once_and_both_have_it(lane) -> None:
    config = lane.home / "dagster.yaml"
    one_at_a_time = config.read_text()
    assert "default_limit: 1" in one_at_a_time
    config.write_text(one_at_a_time.replace("default_limit: 1", "default_limit: 2"))
    steps = steps_of(lane.assets()[0])
    for step in steps[: steps.index(Step("baseline_runs", "41"))]:
        assert lane.materialize(step.asset, step.partition).error == ""
    dagster = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "laneb_assets.definitions"]
    spec = planned_runs(lane.settings)[0].spec
    # Both find the run held, as one would while the other trains it.
    with held(lane.settings.locations.runs_dir / spec.run_id):
        both = [
            subprocess.Popen(
                [*dagster, "--select", f'key:"micro/{asset}"', "--partition", partition],
                env=lane.environment(),
                cwd=lane.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for asset, partition in (("baseline_runs", "41"), ("calibration_runs", "12|41"))
        ]
        for process in both:
            assert any("its result is waited for" in line for line in process.stdout)
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert lane.store.data_version("baseline_runs", "41") == lane.store.data_version("calibration_runs", "12|41")
    [log] = lane.settings.locations.runs_dir.glob("*/train.log")
    assert log.read_text().count("Step 00000 | Validation") == 1


def test_the_schema_table_has_a_row_per_candidate_and_its_export_the_21_columns(finished_once) -> None:
    rows = finished_once.warehouse.current_rows("micro")
    manifest = finished_once.store.read_manifest()
    assert list(rows["run_id"]) == [row.run_id for row in manifest]
    assert all(row.status == "ok" for row in manifest)
    header = finished_once.settings.locations.schema_path.read_text().splitlines()[0]
    assert header == ",".join(SCHEMA_COLUMNS)


def test_a_second_run_with_nothing_changed_makes_nothing(finished_simulated_lane) -> None:
    assert made(finished_simulated_lane.run()) == []


def test_a_moved_threshold_retrains_no_baseline_and_reruns_what_follows(finished_simulated_lane) -> None:
    write_overrides(finished_simulated_lane.settings.locations, {"threshold.threshold_offset": 0.021})
    before = {
        path: path.stat().st_mtime_ns
        for path in finished_simulated_lane.settings.locations.runs_dir.glob("*/result.json")
    }
    assert set(made(finished_simulated_lane.run())) == {
        "lane_b_plan", "baseline_threshold", "ratio_inference", "candidate_runs", "inference_schema",
        "lane_b_summary",
    }  # fmt: skip
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())


def test_a_statistics_knob_trains_nothing(finished_simulated_lane) -> None:
    write_overrides(finished_simulated_lane.settings.locations, {"statistics.corr_max_sep": 8})
    names = made(finished_simulated_lane.run())
    assert names[:3] == ["dataset_stats", "context_loss", "ratio_inference"]
    assert "baseline_runs" not in names
    assert "calibration_runs" not in names


def test_weak_statistics_without_a_fallback_end_in_a_fallback_run(finished_simulated_lane) -> None:
    write_overrides(
        finished_simulated_lane.settings.locations,
        {"inference.alpha_fallback_mode": "none", "inference.alpha_min": 0.7, "inference.alpha_max": 0.71},
    )
    assert [outcome.error for outcome in finished_simulated_lane.run() if outcome.state == "failed"] == []
    assert not finished_simulated_lane.store.read(Inference).promotable
    manifest = finished_simulated_lane.store.read_manifest()
    assert {row.mode for row in manifest} == {"fallback"}
    assert all(row.status == "ok" for row in manifest)
    assert manifest[0].chosen_ratio == finished_simulated_lane.settings.baseline.customary_ratio


def test_seeds_from_the_environment_reach_the_training(
    finished_simulated_lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANE_B_BASELINE_SEEDS", "41,42,7")
    monkeypatch.setenv("LANE_B_RUN_SEEDS", "7")
    outcomes = finished_simulated_lane.run()
    trained = {outcome.step.label for outcome in outcomes if outcome.state == "done"}
    assert {"baseline_runs [7]", "candidate_runs [7]"} <= trained
    assert finished_simulated_lane.store.read(BaselineThreshold).required_seeds == ("41", "42", "7")
    assert {row.seed for row in finished_simulated_lane.store.read_manifest()} == {7}


def test_a_baseline_trained_on_other_settings_is_refused_by_what_follows(finished_simulated_lane) -> None:
    store, seed_run = finished_simulated_lane.store, "baseline_s41"
    foreign = store.read_run(seed_run, "baseline_runs").model_copy(update={"recipe": "other"})
    store.write_run(seed_run, foreign)
    settings = finished_simulated_lane.settings
    with finished_simulated_lane.instance() as instance:
        result = (
            definitions_of(settings)
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey(["simulated", "baseline_results"])],
                raise_on_error=False,
            )
        )
    assert not result.success
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "mixed" in str(failure.step_failure_data.error)


def test_an_unwritable_work_directory_is_said_before_anything_is_trained(lane, tmp_path: Path) -> None:
    from laneb.settings import SettingsError, load_settings

    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    settings = load_settings(str(lane.profile), work_dir=str(blocked / "work"))
    with lane.instance() as instance, pytest.raises(SettingsError, match="can't be written"):
        run_lane(settings, instance, before=lambda step: None, after=lambda outcome: None)


def test_why_a_run_can_not_be_trained_is_the_failure_of_its_asset(lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANE_B_WANDB_RUN_BASE", "mine")
    failed = lane.run()[-1]
    assert failed.step.label == "baseline_runs [41]"
    assert failed.error.startswith(
        "d1_i12_s41 (seed 41): LANE_B_WANDB_RUN_BASE=mine: the package wandb is not installed"
    )


def test_a_work_directory_that_was_deleted_is_made_again(finished_simulated_lane) -> None:
    at = finished_simulated_lane.settings.locations
    paths = (at.infer_json, at.stats_json, at.run_results_dir / "baseline_s41.json", at.duckdb_path, at.report_html)
    for path in paths:
        path.unlink()
    names = made(finished_simulated_lane.run())
    assert set(names) == {"baseline_runs", "dataset_stats", "ratio_inference", "inference_schema", "lane_b_summary"}
    assert all(path.exists() for path in paths)


def test_the_report_sets_experiments_that_share_a_table_side_by_side(finished_simulated_lane) -> None:
    page = finished_simulated_lane.settings.locations.report_html
    assert "side by side" not in page.read_text()
    rows = [row_from_values({"run_id": "r", "seed": 41, "lane_b_decision": "fallback", "status": "ok"})]
    finished_simulated_lane.warehouse.upsert("other", rows, ["f"], skip_existing=True)
    finished_simulated_lane.materialize("lane_b_summary")
    assert "<td>other</td><td>fallback</td><td>1</td><td>0 of 1</td>" in page.read_text()
    assert "| other | fallback | 1 | 0 of 1 |" in page.with_name("summary.md").read_text()
