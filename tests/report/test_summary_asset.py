"""What Dagster is told of the answer: sentence first, columns with their types, the verdict as a check."""

import dagster as dg
import pytest

from laneb.storage.schema_table import COLUMN_TYPES


@pytest.fixture(scope="module")
def recorded(simulated_once):
    """The latest metadata of an asset."""
    with simulated_once.instance() as instance:
        yield (
            lambda asset: (
                instance.get_latest_materialization_event(
                    dg.AssetKey(["simulated", asset])
                ).asset_materialization.metadata
            )
        )


def test_the_summary_begins_with_the_sentence_the_picture_and_the_runs(recorded, simulated_once) -> None:
    metadata = recorded("lane_b_summary")
    assert list(metadata)[:4] == ["answer", "curves", "runs", "report"]
    assert metadata["answer"].value in simulated_once.store.locations.summary_md.read_text()
    assert "dagster/column_schema" not in metadata
    assert metadata["ratio"].value == float(f"{metadata['ratio'].value:.6g}")
    assert metadata["open_report"].value == "/laneb/report/simulated"


def test_the_schema_table_shows_21_columns_with_their_types_and_meanings(recorded) -> None:
    columns = recorded("inference_schema")["dagster/column_schema"].value.columns
    names = {str: "string", int: "int", float: "float"}
    assert {column.name: column.type for column in columns} == {
        name: names[kind] for name, kind in COLUMN_TYPES.items()
    }
    assert all(column.description for column in columns)


def test_every_run_shows_its_curve(recorded) -> None:
    for asset in ("baseline_runs", "calibration_runs", "candidate_runs"):
        assert "data:image/png" in recorded(asset)["curves"].value


def test_the_verdict_and_each_gate_are_checks_that_name_their_numbers(simulated_once) -> None:
    from dagster import DagsterEventType, EventRecordsFilter

    with simulated_once.instance() as instance:
        records = instance.get_event_records(EventRecordsFilter(DagsterEventType.ASSET_CHECK_EVALUATION))
    evaluations = [record.event_log_entry.dagster_event.event_specific_data for record in records]
    checks = {evaluation.check_name: evaluation for evaluation in evaluations}
    verdict = checks["a_candidate_beats_the_baseline"]
    assert verdict.passed and verdict.metadata["decision"].value == "ACCEPT"
    assert verdict.description.startswith("Train ")
    assert checks["interval"].metadata["relative_width_limit"].value > 0
    failed = checks["statistics_quality"]
    assert not failed.passed and failed.metadata["remedy"].value
