"""What the sensors start, evaluated without a daemon."""

import dagster as dg
import pytest

from laneb.records.experiment import Experiment
from laneb.settings import load_settings
from laneb_assets.automation.decisions import imported_results_changed, next_runs
from laneb_assets.automation.staleness import Staleness
from laneb_assets.dagster_internals import BACKFILL_UNDER_WAY, PartitionBackfill
from laneb_assets.definitions import definitions_of
from laneb_assets.lane import Lane


@pytest.fixture
def instance(finished_lane):
    with finished_lane.instance() as instance:
        yield instance


def decide(lane, instance: dg.DagsterInstance, *, ask=next_runs):
    settings = load_settings(str(lane.profile))
    graph = definitions_of(settings).resolve_asset_graph()
    return ask(Staleness(Lane(settings, graph), instance))


def report(instance: dg.DagsterInstance, name: str, version: str | None, partition: str | None = None) -> None:
    """A materialization as a run elsewhere would report it; version None: the one it has."""
    key = dg.AssetKey(["micro", name])
    if version is None:
        records = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition] if partition else None)
        latest = instance.fetch_materializations(records, limit=1).records[0].asset_materialization
        assert latest is not None
        version = (latest.tags or {})["dagster/data_version"]
    instance.report_runless_asset_event(
        dg.AssetMaterialization(key, partition=partition, tags={"dagster/data_version": version})
    )


def ran(instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus, **tags: str) -> None:
    """A run that the daemon started for a request, and how it ended."""
    tags = {f"dagster/{name}": value for name, value in tags.items()} | {"dagster/run_key": str(request.run_key)}
    instance.add_run(dg.DagsterRun(job_name="candidates", status=status, tags=tags))


def started(decision) -> list[tuple[str, str | None]]:
    assert isinstance(decision, list), decision
    return [(key.path[-1], request.partition_key) for request in decision for key in request.asset_selection]


def test_a_finished_lane_starts_nothing(finished_lane, instance) -> None:
    decision = decide(finished_lane, instance)
    assert isinstance(decision, dg.SkipReason)
    assert "up to date" in str(decision.skip_message)


def test_a_baseline_materialized_again_with_the_same_losses_starts_nothing(finished_lane, instance) -> None:
    report(instance, "baseline_runs", None, "41")
    assert isinstance(decide(finished_lane, instance), dg.SkipReason)


def test_a_changed_baseline_starts_the_analysis_chain_once_in_one_run(finished_lane, instance) -> None:
    report(instance, "baseline_runs", "other", "41")
    decision = decide(finished_lane, instance)
    chain = ["baseline_results", "baseline_threshold", "context_loss", "calibration_points", "lane_b_plan",
             "ratio_inference"]  # fmt: skip
    assert started(decision) == [(name, None) for name in chain]
    assert decide(finished_lane, instance)[0].run_key == decision[0].run_key


def test_going_back_to_an_earlier_baseline_is_a_change_too(finished_lane, instance) -> None:
    report(instance, "baseline_runs", "b", "41")
    first = decide(finished_lane, instance)[0].run_key
    report(instance, "baseline_results", "b")
    report(instance, "baseline_runs", "a", "41")
    assert decide(finished_lane, instance)[0].run_key != first


def test_candidates_follow_an_inference_that_changed(finished_lane, instance) -> None:
    report(instance, "ratio_inference", "other")
    assert started(decide(finished_lane, instance)) == [("candidate_runs", "41"), ("candidate_runs", "42")]


@pytest.mark.parametrize(
    ("status", "said"), [(dg.DagsterRunStatus.FAILURE, "failed"), (dg.DagsterRunStatus.CANCELED, "was cancelled")]
)
def test_a_candidate_that_did_not_end_well_is_named_and_not_started_again_by_itself(
    finished_lane, instance, status, said
) -> None:
    report(instance, "ratio_inference", "other")
    first, second = decide(finished_lane, instance)
    ran(instance, first, status)
    assert started([second]) == started(decide(finished_lane, instance)) == [("candidate_runs", "42")]
    ran(instance, second, dg.DagsterRunStatus.SUCCESS)
    decision = decide(finished_lane, instance)
    assert isinstance(decision, dg.SkipReason)
    assert f"of candidate_runs 41 {said}" in str(decision.skip_message)
    report(instance, "candidate_runs", "by hand", "41")
    report(instance, "candidate_runs", "new", "42")
    assert started(decide(finished_lane, instance)) == [("inference_schema", None), ("lane_b_summary", None)]


def test_a_run_that_is_about_to_be_started_again_is_left_to_dagster(finished_lane, instance) -> None:
    report(instance, "ratio_inference", "other")
    first, second = decide(finished_lane, instance)
    ran(instance, first, dg.DagsterRunStatus.FAILURE, will_retry="true")
    ran(instance, second, dg.DagsterRunStatus.SUCCESS)
    said = str(decide(finished_lane, instance).skip_message)
    assert "of candidate_runs 41 was killed and is started again" in said
    assert "candidate_runs 41 yourself" not in said


def test_schema_rows_and_summary_follow_when_all_candidates_are_there(finished_lane, instance) -> None:
    report(instance, "candidate_runs", "other", "41")
    assert started(decide(finished_lane, instance)) == [("inference_schema", None), ("lane_b_summary", None)]


def test_with_automation_analysis_no_training_starts_by_itself(finished_lane, instance, monkeypatch) -> None:
    monkeypatch.setenv("LANE_B_AUTOMATION", "analysis")
    report(instance, "ratio_inference", "other")
    assert isinstance(decide(finished_lane, instance), dg.SkipReason)


def test_with_automation_off_the_sensors_are_stopped(finished_lane, monkeypatch) -> None:
    monkeypatch.setenv("LANE_B_AUTOMATION", "off")
    sensors = definitions_of(finished_lane.settings).sensors or []
    assert [sensor.name for sensor in sensors] == ["baselines_changed", "baseline_results_file"]
    assert {sensor.default_status for sensor in sensors} == {dg.DefaultSensorStatus.STOPPED}


def test_a_seed_that_has_not_run_is_waited_for_by_name(lane) -> None:
    lane.store.write(Experiment.of(lane.settings))
    with lane.instance() as instance:
        report(instance, "baseline_runs", "a", "41")
        decision = decide(lane, instance)
    assert isinstance(decision, dg.SkipReason)
    assert "seed 42 has not run yet" in str(decision.skip_message)


def test_nothing_starts_while_laneb_run_is_at_work(finished_lane, instance) -> None:
    from filelock import FileLock

    report(instance, "baseline_runs", "other", "41")
    with FileLock(finished_lane.settings.locations.local_dir / ".laneb_run.lock"):
        decision = decide(finished_lane, instance)
    assert isinstance(decision, dg.SkipReason)
    assert "at work" in str(decision.skip_message)


def test_a_results_file_is_watched_only_where_results_were_imported(finished_lane, instance) -> None:
    decision = decide(finished_lane, instance, ask=imported_results_changed)
    assert isinstance(decision, dg.SkipReason)
    assert "trained here" in str(decision.skip_message)


def test_an_imported_directory_that_changes_starts_the_analysis(finished_lane, instance, monkeypatch) -> None:
    monkeypatch.setenv("LANE_B_BASELINE_SOURCE", "directory")
    waiting = decide(finished_lane, instance, ask=imported_results_changed)
    assert isinstance(waiting, dg.SkipReason)
    assert "materialize experiment first" in str(waiting.skip_message)
    finished_lane.store.write(Experiment.of(finished_lane.settings))
    chain = started(decide(finished_lane, instance, ask=imported_results_changed))
    assert chain[0] == ("baseline_results", None)
    assert ("context_loss", None) not in chain


@pytest.mark.parametrize(("experiment", "busy"), [("micro", True), ("another", False), (None, True)])
def test_a_backfill_of_a_job_by_its_name_is_waited_for_between_its_runs(
    finished_lane, instance, experiment, busy
) -> None:
    """Its runs tell whose it is; before the first one it may be anybody's."""
    report(instance, "baseline_runs", "other", "41")
    instance.add_backfill(
        PartitionBackfill(
            backfill_id="abcdefgh", status=BACKFILL_UNDER_WAY, from_failure=False, tags={}, backfill_timestamp=0.0,
            partition_names=["41", "42"],
        )
    )  # fmt: skip
    if experiment is not None:
        tags = {"dagster/backfill": "abcdefgh", "laneb/experiment": experiment}
        instance.add_run(dg.DagsterRun(job_name="baselines", status=dg.DagsterRunStatus.SUCCESS, tags=tags))
    decision = decide(finished_lane, instance)
    assert isinstance(decision, dg.SkipReason) is busy
    assert not busy or "backfill abcdefgh" in str(decision.skip_message)
