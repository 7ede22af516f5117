"""dagster-pandas types of the frames: checked before anything is written, and the source of the UI's columns."""

import warnings
from typing import Any

import dagster as dg

from laneb.report.schema_columns import COLUMN_MEANINGS
from laneb.storage.schema_table import COLUMN_TYPES

with warnings.catch_warnings():
    # dagster-pandas has been marked beta for years.
    warnings.simplefilter("ignore", dg.BetaWarning)
    from dagster_pandas import PandasColumn, create_dagster_pandas_dataframe_type
    from dagster_pandas.data_frame import create_table_schema_metadata_from_dataframe

    _STATUSES = {"ok", "failed", "failed_nan"}

    BaselineResultsFrame = create_dagster_pandas_dataframe_type(
        "BaselineResults",
        description="The latest row of each baseline seed.",
        columns=[
            PandasColumn.integer_column("seed", min_value=0, unique=True),
            PandasColumn.categorical_column("status", categories=_STATUSES),
            PandasColumn.float_column("min_val_bpb", min_value=0.0, non_nullable=False),
        ],
    )

    SchemaRowsFrame = create_dagster_pandas_dataframe_type(
        "LaneBInferenceSchema",
        description="Rows of lane_b_inference_schema.",
        columns=[
            PandasColumn.string_column("run_id", unique=True),
            PandasColumn.integer_column("seed", min_value=0),
            PandasColumn.categorical_column("lane_b_decision", categories={"inferred", "confirmation", "fallback"}),
            PandasColumn.categorical_column("status", categories={*_STATUSES, "missing_log"}),
            PandasColumn.float_column("chosen_ratio", min_value=0.0, non_nullable=False),
        ],
    )


def checked(context: dg.AssetExecutionContext, frame_type: dg.DagsterType, frame: Any) -> Any:
    """The frame, if it is what its type says.

    Raises:
        dg.Failure: it isn't; the column, the constraint and the offending rows are named, and nothing was written.
    """
    outcome = frame_type.type_check(context, frame)
    if not outcome.success:
        raise dg.Failure(f"{frame_type.display_name}: {outcome.description}", allow_retries=False)
    return frame


def column_schema(frame: Any) -> dict[str, Any]:
    """The frame's columns and its number of rows, for the UI."""
    schema = create_table_schema_metadata_from_dataframe(frame)
    return {"dagster/column_schema": schema, "dagster/row_count": len(frame)}


def inference_schema_columns(frame: Any) -> dict[str, Any]:
    """The 21 columns with their own types and meanings, and the number of rows, for the UI."""
    columns = [
        dg.TableColumn(name, _TYPE_NAMES[kind], COLUMN_MEANINGS[name], _CONSTRAINTS.get(name))
        for name, kind in COLUMN_TYPES.items()
    ]
    return {"dagster/column_schema": dg.TableSchema(columns), "dagster/row_count": len(frame)}


_TYPE_NAMES = {str: "string", int: "int", float: "float"}
_CONSTRAINTS = {
    "run_id": dg.TableColumnConstraints(nullable=False, unique=True),
    "seed": dg.TableColumnConstraints(nullable=False, other=["at least 0"]),
    "lane_b_decision": dg.TableColumnConstraints(nullable=False, other=["inferred, confirmation or fallback"]),
    "status": dg.TableColumnConstraints(nullable=False),
}
