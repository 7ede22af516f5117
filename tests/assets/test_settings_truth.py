"""One truth of the settings: whatever way a person takes, what is stored holds, and what is behind says so."""

import json
import re

import dagster as dg
import pandas as pd
import pytest
from routes import check_says, laneb_run_trains_first, launch, launch_job, sensor_says, summary_says

from laneb.records.baseline import BaselineThreshold
from laneb.records.experiment import Experiment
from laneb.records.verdict import Verdict
from laneb.settings import read_overrides
from laneb.storage.overrides import write_overrides
from laneb_assets.assets.experiment import op_name
from laneb_assets.automation.decisions import ANALYSIS, next_runs
from laneb_assets.automation.staleness import Staleness
from laneb_assets.dagster_internals import StaleStatus, stale_status_resolver

pytestmark = pytest.mark.slow

BEHIND = ("baseline_threshold", "calibration_points", "ratio_inference")


@pytest.fixture
def lane(finished_simulated_lane):
    return finished_simulated_lane


def test_materializing_without_config_drops_no_override(lane) -> None:
    assert launch(lane, "experiment", config={"overrides": {"threshold.threshold_offset": 0.03}}) == ""
    assert launch(lane, "experiment") == ""
    assert launch(lane, "experiment", config={"overrides": {"statistics.corr_max_sep": 8}}) == ""
    kept = {"statistics.corr_max_sep": 8, "threshold.threshold_offset": 0.03}
    assert read_overrides(lane.settings.locations) == lane.store.read(Experiment).overrides == kept
    assert launch(lane, "experiment", config={"reset": True}) == ""
    assert read_overrides(lane.settings.locations) == {}


def test_the_launchpad_opens_with_what_is_kept_and_refuses_a_misspelt_knob_while_it_is_typed(lane) -> None:
    write_overrides(lane.settings.locations, {"threshold.threshold_offset": 0.03})
    _, definitions = lane.assets()
    job = definitions.resolve_implicit_global_asset_job_def()
    field = job.get_node_named(op_name("simulated")).definition.config_schema.config_type.fields["overrides"]
    assert field.default_value == {"threshold.threshold_offset": 0.03}
    knobs = field.config_type.fields
    assert "bpb" in knobs["threshold.threshold_offset"].description
    assert not {"training.nanochat_python", "training.launcher_args", "data.corpus", "baseline.seeds"} & set(knobs)
    with pytest.raises(dg.DagsterInvalidConfigError, match="threshold_ofset"):
        launch(lane, "experiment", config={"overrides": {"threshold.threshold_ofset": 0.03}})


def test_the_code_version_of_experiment_asks_for_no_click_when_an_override_is_kept(lane) -> None:
    def code_version() -> str:
        assets, _ = lane.assets()
        return assets.graph.get(assets.key("experiment")).code_version

    before = code_version()
    write_overrides(lane.settings.locations, {"threshold.threshold_offset": 0.03})
    assert code_version() == before


def test_a_seed_added_by_the_environment_is_not_overlooked(lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANE_B_BASELINE_SEEDS", "41,42,43,44")
    behind = "experiment is behind: baseline.seeds is 41,42,43 in experiment, and 41,42,43,44 by now"
    for asset, partition in (("baseline_runs", "44"), ("baseline_results", None)):
        said = launch(lane, asset, partition=partition)
        assert behind in said
        assert "Materialize experiment first" in said
    assert behind in sensor_says(lane)
    assert f"! {behind}" in summary_says(lane)
    assert launch(lane, "experiment") == ""
    assert "seed 44 has not run yet" in sensor_says(lane)
    missing = "materialize baseline_runs partition 44 first"
    assert missing in summary_says(lane)
    assert missing in launch(lane, "baseline_results")
    assert laneb_run_trains_first(lane) == "baseline_runs [44]"
    assert launch(lane, "baseline_runs", partition="44") == ""
    assert sensor_says(lane).startswith("baseline_results")
    assert launch(lane, "baseline_results") == ""


def test_a_run_seed_added_is_named_until_it_has_run(lane, monkeypatch) -> None:
    monkeypatch.setenv("LANE_B_RUN_SEEDS", "41,42,43,44")
    assert launch(lane, "experiment") == ""
    assert sensor_says(lane) == "candidate_runs 44"
    assert "! candidate_runs 44 have not run for this inference: materialize them" in summary_says(lane)
    assert laneb_run_trains_first(lane) == "candidate_runs [44]"


def test_definitions_that_were_loaded_with_other_seeds_are_to_be_loaded_again(lane) -> None:
    assets, _ = lane.assets()
    write_overrides(lane.settings.locations, {"baseline.seeds": [41, 42, 44]})
    with lane.instance() as instance:
        said = str(next_runs(Staleness(assets, instance)).skip_message)
    assert "baseline.seeds was 41,42,43 when definitions loaded and is 41,42,44 by now" in said
    assert "reload the code location" in said


def test_baselines_of_mixed_settings_are_refused_by_partition_and_knob(lane) -> None:
    assert launch(lane, "experiment", config={"overrides": {"baseline.num_iterations": 500}}) == ""
    found = check_says(lane, "baseline_runs")
    assert not found.passed
    assert "41 (horizon 400, now 500)" in found.description
    assert launch(lane, "baseline_runs", partition="41") == ""
    found = check_says(lane, "baseline_runs")
    assert (found.passed, found.metadata["partitions"].value) == (False, "42, 43")
    stale = "baseline_runs 42 (horizon 400, now 500), 43 (horizon 400, now 500)"
    assert stale in launch(lane, "baseline_results")
    assert stale in summary_says(lane)
    assert "baseline_runs 42 (horizon 400, now 500)" in sensor_says(lane)
    assert laneb_run_trains_first(lane) == "baseline_runs [42]"
    for seed in ("42", "43"):
        assert launch(lane, "baseline_runs", partition=seed) == ""
    assert check_says(lane, "baseline_runs").passed
    assert launch(lane, "baseline_results") == ""


def test_a_changed_training_knob_names_itself_on_every_trained_asset(lane) -> None:
    assert launch(lane, "experiment", config={"overrides": {"training.matrix_lr": 0.5}}) == ""
    for asset in ("baseline_runs", "calibration_runs"):
        assert "training.matrix_lr" in check_says(lane, asset).description
    assert "training.matrix_lr" in launch(lane, "calibration_points")


def test_candidates_of_an_earlier_inference_count_in_nothing(lane) -> None:
    before = pd.read_csv(lane.settings.locations.schema_path)
    earlier = "candidates of an earlier inference or of other settings count in nothing"
    said = launch_job(lane, "analysis", config={"overrides": {"threshold.threshold_offset": 0.05}})
    assert earlier in said
    assert "candidate_runs 41, 42, 43 have not run for this inference" in said
    assert sensor_says(lane) == "candidate_runs 41, candidate_runs 42, candidate_runs 43"
    assert f"! {earlier}" in summary_says(lane)
    assert launch(lane, "candidate_runs", partition="41") == ""
    found = check_says(lane, "candidate_runs")
    assert (found.passed, found.metadata["partitions"].value) == (False, "42, 43")
    assert sensor_says(lane) == "candidate_runs 42, candidate_runs 43"
    assert launch(lane, "inference_schema", "lane_b_summary") == ""
    rows = pd.read_csv(lane.settings.locations.schema_path)
    assert set(rows["seed"]) == {41}
    assert set(rows["target_metric_threshold"]).isdisjoint(before["target_metric_threshold"])
    verdict = lane.store.read(Verdict)
    assert {arm.seed for arm in verdict.arms if arm.arm != "baseline"} == {41}
    assert len(lane.warehouse.all_rows("simulated")) == len(before) + len(rows)
    assert "! candidate_runs 42, 43 have not run for this inference" in summary_says(lane)
    assert laneb_run_trains_first(lane) == "candidate_runs [42]"


def test_ratios_that_hardly_differ_are_said_with_the_digits_in_which_they_do(lane) -> None:
    run = lane.store.read_run("laneb_inferred_s41", "")
    ratio = run.made_for.requested_ratio
    made_for = run.made_for.model_copy(update={"requested_ratio": ratio * (1 + 1e-6)})
    lane.store.write_run("laneb_inferred_s41", run.model_copy(update={"made_for": made_for}))
    [said] = re.findall(r"inferred ratio (\S+), now (\S+)\)", summary_says(lane))
    assert said[0] != said[1]
    assert [float(number) for number in said] == pytest.approx([made_for.requested_ratio, ratio], rel=1e-6)


def test_a_removed_run_seed_leaves_tally_and_table_and_stays_queryable(lane, monkeypatch) -> None:
    rows = len(lane.warehouse.all_rows("simulated"))
    monkeypatch.setenv("LANE_B_RUN_SEEDS", "41,42")
    assert launch(lane, "experiment", "inference_schema", "lane_b_summary") == ""
    assert set(pd.read_csv(lane.settings.locations.schema_path)["seed"]) == {41, 42}
    assert set(lane.warehouse.current_rows("simulated")["seed"]) == {41, 42}
    assert len(lane.warehouse.all_rows("simulated")) == rows
    assert "43" not in json.dumps([arm.run_id for arm in lane.store.read(Verdict).arms if arm.arm != "baseline"])
    assert sensor_says(lane) == "the lane is up to date with its baselines"
    assert "2 paired seeds" in summary_says(lane)
    assert laneb_run_trains_first(lane) == ""
    monkeypatch.setenv("LANE_B_RUN_SEEDS", "41,42,43")
    assert launch(lane, "experiment", "inference_schema") == ""
    assert set(lane.warehouse.current_rows("simulated")["seed"]) == {41, 42, 43}


def test_a_removed_baseline_seed_leaves_threshold_tally_table_and_verdict_and_stays_queryable(lane, monkeypatch):
    rows = len(lane.warehouse.all_rows("simulated"))
    for name, value in (("BASELINE_SEEDS", "41,42"), ("BASELINE_MIN_SUCCESS", "2"), ("RUN_SEEDS", "41")):
        monkeypatch.setenv(f"LANE_B_{name}", value)
    assert launch(lane, "experiment") == ""
    # Each says that it is of three until it is made again, whoever is asked.
    of_three = [f"{name} (baseline seeds 41,42,43, now 41,42)" for name in BEHIND]
    said = f"! behind what they are made of: {', '.join(of_three)}. Materialize baseline_results and all that follows"
    assert said in summary_says(lane)
    assert sensor_says(lane) == f"{', '.join(ANALYSIS)} not up to date: materialize them, and candidates follow"
    assert launch(lane, "baseline_results", "baseline_threshold", "calibration_points") == ""
    threshold = lane.store.read(BaselineThreshold)
    assert [run.seed for run in threshold.successful_runs] == list(threshold.required_seeds) == ["41", "42"]
    now = threshold.recommended_target_threshold
    moved = f"ratio_inference (baseline seeds 41,42,43, now 41,42; threshold 0.954500, now {now:.6f})"
    assert f"! behind what they are made of: {moved}. " in summary_says(lane)
    assert launch(lane, "ratio_inference") == launch(lane, "candidate_runs", partition="41") == ""
    assert launch(lane, "inference_schema", "lane_b_summary") == ""
    assert {arm.seed for arm in lane.store.read(Verdict).arms} == {41, 42}
    table = pd.read_csv(lane.settings.locations.schema_path)
    assert (set(table["seed"]), set(table["target_metric_threshold"])) == ({41}, {now})
    assert not any(word in summary_says(lane) for word in ("behind", "43"))
    # What was trained and reported of it is still there to be asked.
    assert set(pd.read_csv(lane.settings.locations.baseline_results_csv)["seed"]) == {41, 42, 43}
    assert len(lane.warehouse.all_rows("simulated")) == rows + len(table)


def test_experiment_alone_makes_its_sections_too_and_leaves_nothing_stale(lane) -> None:
    assets, definitions = lane.assets()
    with lane.instance() as instance:
        job = definitions.resolve_implicit_global_asset_job_def()
        for chosen in (assets.key("experiment"), assets.key("data_settings")):
            assert job.execute_in_process(instance=instance, asset_selection=[chosen]).success
            states = stale_status_resolver(assets.graph, instance)
            assert {states.get_status(key) for key in assets.settings_keys} == {StaleStatus.FRESH}
