"""What an asset tells Dagster about what it made."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from laneb.places import AnyPath
from laneb.records.base import Record, finite


def materialized(
    record: Record | None = None,
    path: AnyPath | None = None,
    *,
    version: str | None = None,
    extra: Mapping[str, Any] | None = None,
    **numbers: Any,
) -> dg.MaterializeResult:
    """A materialization whose data version is the hash of what was made, with a link to its file.

    Numbers become plain metadata, which Dagster plots over time; unknown ones (None, NaN) are left out.
    """
    data_version = version or (record.content_hash() if record is not None else None)
    metadata: dict[str, Any] = {name: value for name, value in finite(numbers).items() if value is not None}
    if path is not None:
        metadata["file"] = dg.MetadataValue.path(str(path))
    return dg.MaterializeResult(
        data_version=dg.DataVersion(data_version) if data_version else None, metadata={**metadata, **(extra or {})}
    )
