"""Experiments side by side, from the DuckDB table that they share."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

from laneb.knobs import Places
from laneb.places import locate
from laneb.records.verdict import Verdict
from laneb.report.markdown import markdown_table
from laneb.storage.looks import read_looks
from laneb.storage.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from laneb.places import Locations
    from laneb.storage.warehouse import Warehouse

COMPARISON_COLUMNS = ("experiment", "arm", "runs", "reached", "ratio", "threshold", "median bpb", "median time",
                      "verdict")  # fmt: skip
"""The median time is of the runs that reached their experiment's threshold; `reached` says how many did."""


def experiments(warehouse: Warehouse, experiment: str, locations: Locations) -> pd.DataFrame:
    """Experiments that share a DuckDB file, arm by arm, each one's baselines first.

    Args:
        warehouse: the file.
        experiment: the one that `locations` are of. Another's baselines are known where its work directory is the
            usual one under the same base.
        locations: of that experiment.

    Returns:
        The columns of `Warehouse.arms`, and `verdict` (that of the latest look at a mode; None where there was none).
    """
    import pandas as pd

    arms = warehouse.arms()
    rows: list[dict[str, Any]] = []
    for name, own in arms.groupby("experiment", sort=False):
        decided = {look.mode: look.decision for look in read_looks(warehouse, str(name))}
        here = locations if name == experiment else locate(Places(base_dir=str(locations.base_dir)), str(name))
        rows += _baselines(str(name), replace(here, local_dir=locations.local_dir))
        rows += [
            {**{str(column): value for column, value in row.items()}, "verdict": decided.get(row["arm"])}
            for row in own.to_dict("records")
        ]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=[*arms.columns, "verdict"])
    return frame


def _baselines(experiment: str, locations: Locations) -> list[dict[str, Any]]:
    """The row of an experiment's baselines; none where its verdict is not there to be read, or none of them is ok."""
    try:
        verdict = Store(locations).read(Verdict)
    except (ValueError, OSError):
        return []
    runs = [arm for arm in verdict.arms if arm.arm == "baseline" and arm.status == "ok"]
    if not runs:
        return []
    times = [run.measured_sec for run in runs if run.reached and run.measured_sec is not None]
    losses = [run.min_val_bpb for run in runs if run.min_val_bpb is not None]
    return [
        {
            "experiment": experiment,
            "arm": "baseline",
            "runs": len(runs),
            "ratio": median(run.realised_ratio for run in runs),
            "threshold": verdict.threshold,
            "min_val_bpb": median(losses) if losses else None,
            "time_to_target_sec": median(times) if times else None,
            "reached": len(times),
            "verdict": None,
        }
    ]


def comparison_rows(arms: pd.DataFrame) -> list[tuple[str, ...]]:
    """A row of `COMPARISON_COLUMNS` per experiment and arm, as text.

    Args:
        arms: what `experiments` or `Warehouse.arms` gives. Each experiment's time is to its own threshold.
    """
    return [
        (
            str(arm["experiment"]),
            str(arm["arm"]),
            str(arm["runs"]),
            f"{arm['reached']} of {arm['runs']}",
            _number(arm["ratio"], ".4g"),
            _number(arm["threshold"], ".4f"),
            _number(arm["min_val_bpb"], ".4f"),
            _number(arm["time_to_target_sec"], ".2f", " s"),
            str(arm.get("verdict") or "-"),
        )
        for arm in arms.to_dict("records")
    ]


def side_by_side(warehouse: Warehouse, experiment: str, locations: Locations) -> list[tuple[str, ...]]:
    """The rows of a table that several experiments share; none where there is one alone."""
    arms = experiments(warehouse, experiment, locations)
    return comparison_rows(arms) if arms["experiment"].nunique() > 1 else []


def comparison_markdown(rows: list[tuple[str, ...]]) -> str:
    """The rows as a table in Markdown, empty without any."""
    if not rows:
        return ""
    return f"\n## Experiments side by side\n{markdown_table(COMPARISON_COLUMNS, rows)}\n"


def _number(value: float | None, style: str, unit: str = "") -> str:
    return "-" if value is None or value != value else f"{value:{style}}{unit}"
