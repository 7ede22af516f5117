"""What Lane B uses of Dagster's private modules works in the release that is installed."""

import dagster as dg

from laneb_assets.names import EXPERIMENT_TAG, LANE_RUN_TAG


def test_runs_of_laneb_run_belong_to_the_uis_code_location_and_are_joined_by_a_tag(simulated_once) -> None:
    with simulated_once.instance() as instance:
        runs = instance.get_runs()
        ours = instance.get_runs(dg.RunsFilter(tags={".dagster/repository": "__repository__@laneb"}))
        assert len(runs) > 10
        assert {run.run_id for run in ours} == {run.run_id for run in runs}
        assert {run.tags[EXPERIMENT_TAG] for run in runs} == {"simulated"}
        assert len({run.tags[LANE_RUN_TAG] for run in runs}) == 1
        assert {run.remote_job_origin.location_name for run in runs if run.remote_job_origin} == {"laneb"}
        # Their job is the one that the code location holds, whole: only then does the UI offer to run it again.
        _, definitions = simulated_once.assets()
        assert {"baselines", "calibration", "candidates", "analysis"} <= {run.job_name for run in runs}
        for run in runs:
            lineage = instance.get_job_snapshot(run.job_snapshot_id).lineage_snapshot
            assert lineage.parent_snapshot_id == definitions.resolve_job_def(run.job_name).get_job_snapshot_id()


def test_a_run_of_a_partition_is_known_by_its_partition(simulated_once) -> None:
    with simulated_once.instance() as instance:
        keys = {run.tags.get("dagster/partition") for run in instance.get_runs()}
    assert {"41", "42", "43", None} <= keys
