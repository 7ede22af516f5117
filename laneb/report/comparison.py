"""Experiments side by side, from the DuckDB table that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from laneb.storage.warehouse import Warehouse

COMPARISON_COLUMNS = ("experiment", "arm", "runs", "ratio", "threshold", "median bpb", "median time")


def comparison_rows(arms: pd.DataFrame) -> list[tuple[str, ...]]:
    """A row of `COMPARISON_COLUMNS` per experiment and arm, as text.

    Args:
        arms: what `Warehouse.arms` gives. Each experiment's time is to its own threshold.
    """
    return [
        (
            str(arm["experiment"]),
            str(arm["arm"]),
            str(arm["runs"]),
            _number(arm["ratio"], ".4g"),
            _number(arm["threshold"], ".4f"),
            _number(arm["min_val_bpb"], ".4f"),
            _number(arm["time_to_target_sec"], ".2f", " s"),
        )
        for arm in arms.to_dict("records")
    ]


def side_by_side(warehouse: Warehouse) -> list[tuple[str, ...]]:
    """The rows of a table that several experiments share; none where there is one alone."""
    arms = warehouse.arms()
    return comparison_rows(arms) if arms["experiment"].nunique() > 1 else []


def comparison_markdown(rows: list[tuple[str, ...]]) -> str:
    """The rows as a table in Markdown, empty without any."""
    if not rows:
        return ""
    lines = [COMPARISON_COLUMNS, ("---",) * len(COMPARISON_COLUMNS), *rows]
    return "\n## Experiments side by side\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float | None, style: str, unit: str = "") -> str:
    return "-" if value is None or value != value else f"{value:{style}}{unit}"
