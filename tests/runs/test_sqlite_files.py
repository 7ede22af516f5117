"""Dagster's SQLite files are kept open while a run is executed, and left as Dagster would leave them."""

import sqlite3

import dagster as dg
import pytest

from laneb_assets.runs.sqlite_files import begin_log, kept_open


@pytest.fixture
def instance(lane):
    with lane.instance() as instance:
        yield instance


def test_a_log_that_is_begun_is_the_one_that_dagster_would_make(instance) -> None:
    begin_log(instance, "begun")
    storage = instance.event_log_storage
    with storage.run_connection("made"):
        pass
    made, begun = (dump(storage.path_for_shard(run_id)) for run_id in ("made", "begun"))
    assert "event_logs" in begun and 'INSERT INTO "alembic_version"' in begun
    assert begun == made


def test_the_log_of_a_run_that_has_one_is_not_begun_again(instance) -> None:
    run = instance.add_run(dg.DagsterRun(job_name="baselines"))
    instance.report_run_failed(run, "by hand")
    begin_log(instance, run.run_id)
    assert len(instance.all_logs(run.run_id)) > 0


def test_files_are_kept_open_within_the_block_and_whole_after_it(instance, lane) -> None:
    with kept_open(instance):
        run = instance.add_run(dg.DagsterRun(job_name="baselines"))
        instance.report_run_failed(run, "by hand")
        assert open_logs(lane.home)
        assert len(instance.all_logs(run.run_id)) > 0
    assert not open_logs(lane.home)
    instance.report_run_failed(run, "once more")
    assert not open_logs(lane.home)


def test_another_reader_sees_at_once_what_is_written_to_a_file_that_is_kept_open(instance, lane) -> None:
    with kept_open(instance), lane.instance() as other:
        run = instance.add_run(dg.DagsterRun(job_name="baselines"))
        instance.report_run_failed(run, "by hand")
        assert other.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.FAILURE


def open_logs(home) -> list[str]:
    """Write-ahead logs that nobody has folded back yet."""
    return sorted(str(path) for path in home.rglob("*.db-wal"))


def dump(path: str) -> str:
    connection = sqlite3.connect(path)
    try:
        return "\n".join(connection.iterdump())
    finally:
        connection.close()
