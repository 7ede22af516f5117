"""The graph as Dagster loads it: a snapshot of keys, dependencies, partitions and checks."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from laneb.settings import SettingsError, load_settings
from laneb_assets.definitions import build_definitions, definitions_of

GRAPH = {
    "lane_b_plan": "planning <- baseline_settings, calibration_points, calibration_settings, candidates_settings, "
    "data_settings, model_settings, threshold_settings, training_settings",
    "tokenizer": "corpus <- data_settings",
    "token_shards": "corpus <- data_settings, tokenizer",
    "scaling_params": "inference <- data_settings, model_settings",
    "baseline_runs": "baseline [2] <- baseline_settings, model_settings, token_shards, training_settings",
    "baseline_results": "baseline <- baseline_runs, baseline_settings",
    "baseline_threshold": "baseline <- baseline_results, baseline_settings, threshold_settings",
    "dataset_stats": "statistics <- statistics_settings, token_shards",
    "context_loss": "statistics <- baseline_runs, baseline_settings, dataset_stats",
    "calibration_runs": "calibration [6] <- model_settings, token_shards, training_settings",
    "calibration_points": "calibration <- baseline_results, baseline_settings, calibration_runs, calibration_settings",
    "ratio_inference": "inference <- baseline_results, baseline_settings, baseline_threshold, calibration_points, "
    "dataset_stats, inference_settings, scaling_params, threshold_settings",
    "candidate_runs": "candidates [2] <- model_settings, ratio_inference, training_settings",
    "inference_schema": "summary <- baseline_settings, candidate_runs, candidates_settings, ratio_inference",
    "lane_b_summary": "summary <- baseline_results, baseline_threshold, candidates_settings, inference_schema, "
    "ratio_inference",
}
CHECKS = {
    "lane_b_plan": {"design_can_be_accepted"},
    "token_shards": {"enough_validation_text"},
    "dataset_stats": {"entropy_is_measured"},
    "baseline_runs": {"baselines_finished", "up_to_date_with_settings"},
    "calibration_runs": {"calibration_finished", "up_to_date_with_settings"},
    "calibration_points": {"losses_fall_with_tokens"},
    "lane_b_summary": {"a_candidate_beats_the_baseline"},
    "candidate_runs": {"candidates_finished", "realised_as_requested", "up_to_date_with_settings"},
    "ratio_inference": {
        "finished_runs", "statistics_quality", "plausible_exponent", "solved", "feasible", "fit_quality",
        "noise_below_spread", "bracketed", "extrapolation", "interval", "warmdown_pays",
    },
}  # fmt: skip


@pytest.fixture
def definitions(lane) -> dg.Definitions:
    return definitions_of(lane.settings)


def test_the_definitions_load(definitions) -> None:
    dg.Definitions.validate_loadable(definitions)


def test_the_graph_is_the_one_that_the_readme_describes(definitions) -> None:
    graph = definitions.resolve_asset_graph()
    found = {}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        name = key.path[-1]
        assert key.path[0] == "micro"
        assert node.description
        assert list(node.owners) == ["team:laneb"]
        assert node.tags["laneb/experiment"] == "micro"
        assert node.metadata["dagster/code_references"]
        if name == "experiment" or name.endswith("_settings"):
            assert node.group_name == ("experiment" if name == "experiment" else "settings")
            continue
        assert node.kinds
        count = f" [{len(node.partitions_def.get_partition_keys())}]" if node.partitions_def else ""
        found[name] = f"{node.group_name}{count} <- {', '.join(sorted(dep.path[-1] for dep in node.parent_keys))}"
    assert found == GRAPH


def test_every_gate_is_a_check_on_the_asset_that_it_judges(definitions) -> None:
    found: dict[str, set[str]] = {}
    for key in definitions.resolve_asset_graph().asset_check_keys:
        found.setdefault(key.asset_key.path[-1], set()).add(key.name)
    assert found == CHECKS


def test_jobs_and_sensors_have_the_names_that_scripts_use(definitions) -> None:
    assert {job.name for job in definitions.jobs} == {"baselines", "calibration", "candidates", "analysis"}
    assert {sensor.name for sensor in definitions.sensors} == {"baselines_changed", "baseline_results_file"}


def test_with_imported_results_no_baseline_can_be_trained(lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANE_B_BASELINE_SOURCE", "directory")
    keys = definitions_of(lane.settings).resolve_asset_graph().get_all_asset_keys()
    assert not {"baseline_runs", "context_loss"} & {key.path[-1] for key in keys}


def test_a_second_experiment_is_a_module_of_two_lines(lane) -> None:
    other = lane.folder / "other.toml"
    other.write_text(lane.profile.read_text().replace('experiment = "micro"', 'experiment = "other"'))
    module = lane.folder / "second.py"
    module.write_text(
        f"from laneb_assets.definitions import build_definitions\ndefs = build_definitions({str(other)!r})\n"
    )
    first = definitions_of(lane.settings).resolve_asset_graph().get_all_asset_keys()
    second = build_definitions(str(other)).resolve_asset_graph().get_all_asset_keys()
    assert not set(first) & set(second)
    check = [sys.executable, "-m", "dagster", "definitions", "validate", "-f", str(module)]
    # Away from the checkout, whose .env would put its own instance in place of the lane's.
    done = subprocess.run(check, env=lane.environment(), cwd=lane.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_work_directory_that_two_experiments_would_share_is_refused(finished_lane, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(finished_lane.profile.read_text().replace('experiment = "micro"', 'experiment = "other"'))
    settings = load_settings(str(other), work_dir=str(finished_lane.settings.locations.work_dir))
    with pytest.raises(SettingsError, match="work directory of experiment micro"):
        definitions_of(settings)


def test_a_relative_profile_of_a_module_means_the_checkout(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys = build_definitions("laneb/profiles/tiny.toml").resolve_asset_graph().get_all_asset_keys()
    assert {key.path[0] for key in keys} == {"tiny"}


def test_groups_of_experiments_that_share_a_ui_are_told_apart(lane) -> None:
    graph = build_definitions(str(lane.profile)).resolve_asset_graph()
    groups = {graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert {"micro_experiment", "micro_corpus", "micro_summary"} <= groups
    assert all(group.startswith("micro_") for group in groups if group)
    alone = definitions_of(lane.settings).resolve_asset_graph()
    assert {alone.get(key).group_name for key in alone.get_all_asset_keys()} == {
        group.removeprefix("micro_") for group in groups if group
    }
