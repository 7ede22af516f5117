"""The summary of the schema rows: winner per seed, tally, recommended decision."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from laneb.records.candidates import MODES, Mode
from laneb.records.verdict import SeedWinner, Summary

if TYPE_CHECKING:
    import pandas as pd

TIE = "tie_or_missing"
COLUMNS = (
    "run_id", "seed", "lane_b_decision", "status", "time_to_target_sec_measured", "time_to_target_sec_extrapolated",
)  # fmt: skip


def summarize(rows: pd.DataFrame) -> Summary:
    """Winner per seed and the recommended `lane_b_decision`.

    Among a seed's rows with status `ok`, the winner is the mode with the least time to target; a measured time goes
    before an extrapolated one, which no run realised. A single mode with a time wins; an exact tie, or no time at all,
    is `tie_or_missing`. Recommended is the mode with most wins, ties by the order inferred, confirmation, fallback;
    without a usable run (status ok, with a time) `fallback`.

    Args:
        rows: rows of the schema table (the 21 columns; those used are run_id, seed, lane_b_decision, status and the two
            times). Where a run_id stands twice the later row counts.

    Raises:
        ValueError: a column is missing, a mode is unknown, or a seed is not an integer.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"run_id": ["a", "b"], "seed": 41, "lane_b_decision": ["inferred", "confirmation"],
    ...                      "status": "ok", "time_to_target_sec_measured": [12.0, 11.0],
    ...                      "time_to_target_sec_extrapolated": None})
    >>> summarize(rows).recommended_lane_b_decision
    'confirmation'
    """
    absent = [name for name in COLUMNS if name not in rows.columns]
    if absent:
        raise ValueError(f"schema rows have no column {', '.join(absent)}")
    times: dict[int, dict[Mode, tuple[bool, float]]] = {}
    not_ok = []
    for row in rows.drop_duplicates("run_id", keep="last").to_dict("records"):
        seed, mode = _seed(row), _mode(row)
        of_seed = times.setdefault(seed, {})
        if str(row["status"]).strip() != "ok":
            not_ok.append(f"{row['run_id']}: {row['status']}")
            continue
        time = _time(row)
        if time is not None and (mode not in of_seed or time < of_seed[mode]):
            of_seed[mode] = time
    winners = tuple(_winner(seed, times[seed]) for seed in sorted(times))
    tally: dict[str, int] = {mode: sum(winner.winner == mode for winner in winners) for mode in MODES}
    tally[TIE] = sum(winner.winner == TIE for winner in winners)
    usable = [mode for mode in MODES if any(mode in of_seed for of_seed in times.values())]
    recommended: Mode = max(usable, key=lambda mode: tally[mode]) if usable else "fallback"
    return Summary(winners=winners, tally=tally, recommended_lane_b_decision=recommended, not_ok_runs=tuple(not_ok))


def _winner(seed: int, times: dict[Mode, tuple[bool, float]]) -> SeedWinner:
    if not times:
        return SeedWinner(seed=seed, winner=TIE, time_sec=None, extrapolated=False)
    best = min(times.values())
    modes = [mode for mode in MODES if times.get(mode) == best]
    return SeedWinner(seed=seed, winner=modes[0] if len(modes) == 1 else TIE, time_sec=best[1], extrapolated=best[0])


def _time(row: dict[Any, Any]) -> tuple[bool, float] | None:
    """(extrapolated, seconds): pairs that sort as they rank."""
    for extrapolated, column in ((False, COLUMNS[4]), (True, COLUMNS[5])):
        try:
            seconds = float(row[column])
        except (TypeError, ValueError):
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return extrapolated, seconds
    return None


def _seed(row: dict[Any, Any]) -> int:
    try:
        value = float(row["seed"])
    except (TypeError, ValueError):
        value = math.nan
    if not value.is_integer():
        raise ValueError(f"schema row {row['run_id']}: seed {row['seed']!r} is not an integer")
    return int(value)


def _mode(row: dict[Any, Any]) -> Mode:
    for mode in MODES:
        if row["lane_b_decision"] == mode:
            return mode
    raise ValueError(
        f"schema row {row['run_id']}: lane_b_decision {row['lane_b_decision']!r} is none of {', '.join(MODES)}"
    )
