"""The table of looks in the DuckDB file."""

from __future__ import annotations

from laneb.records.verdict import Look
from laneb.storage.looks import read_looks, record_looks
from laneb.storage.warehouse import Warehouse


def look(**changes: object) -> Look:
    values: dict[str, object] = {
        "timestamp_utc": "2026-01-01T00:00:00Z", "question": "recipe", "mode": "confirmation", "threshold": 0.93,
        "seeds": (41, 42, 43), "pairs": 3, "statistic": 2.5, "critical": 3.44, "spent": 0.0375,
        "decision": "INCONCLUSIVE", "runs": ("a", "b"),
    }  # fmt: skip
    return Look.model_validate(values | changes)


def test_looks_come_back_in_order_as_they_were_and_an_equal_one_is_kept_once(tmp_path) -> None:
    warehouse = Warehouse(tmp_path / "lane_b.duckdb")
    assert read_looks(warehouse, "tiny") == ()
    first, second = look(), look(runs=("a", "b", "c"), pairs=4, spent=0.04375, statistic=None)
    record_looks(warehouse, "tiny", [first])
    record_looks(warehouse, "tiny", [look(timestamp_utc="later", spent=0.04), second])
    record_looks(warehouse, "other", [look(threshold=0.94)])
    assert read_looks(warehouse, "tiny") == (first, second)
    assert [each.threshold for each in read_looks(warehouse, "other")] == [0.94]


def test_a_table_without_looks_has_none(tmp_path) -> None:
    warehouse = Warehouse(tmp_path / "lane_b.duckdb")
    with warehouse.connect():
        pass
    assert read_looks(warehouse, "tiny") == ()
