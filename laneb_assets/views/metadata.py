"""What an asset tells Dagster about what it made."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from laneb.places import AnyPath
from laneb.records.base import Record, finite

SHOWN_DIGITS = 6
"""Of a number that people read; the exact one stands in the record's file."""


def significant(number: float) -> float:
    """A number to the digits that people read."""
    return float(f"{number:.{SHOWN_DIGITS}g}")


def finite_numbers(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of some values, without the unknown (None, NaN); numbers to the digits that people read."""
    known = {name: value for name, value in finite(dict(numbers)).items() if value is not None}
    return {name: significant(value) if isinstance(value, float) else value for name, value in known.items()}


def materialized(
    record: Record | None = None,
    path: AnyPath | None = None,
    *,
    version: str | None = None,
    first: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    **numbers: Any,
) -> dg.MaterializeResult:
    """A materialization whose data version is the hash of what was made, with a link to its file.

    `first` stands before all else, `extra` after it. Numbers become plain metadata, which Dagster plots over time;
    unknown ones (None, NaN) are left out.
    """
    data_version = version or (record.content_hash() if record is not None else None)
    metadata: dict[str, Any] = finite_numbers(numbers)
    if path is not None:
        metadata["file"] = dg.MetadataValue.path(str(path))
    return dg.MaterializeResult(
        data_version=dg.DataVersion(data_version) if data_version else None,
        metadata={**(first or {}), **metadata, **(extra or {})},
    )
