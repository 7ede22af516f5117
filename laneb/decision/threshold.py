"""The threshold: what validation bpb a candidate has to reach, from the baselines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from laneb.records.base import utc_now
from laneb.records.baseline import BaselineThreshold, SuccessfulRun

if TYPE_CHECKING:
    import pandas as pd

METRIC_COLUMNS = {"val_bpb": "min_val_bpb"}
FORMULA = "round(median(min_val_bpb over required seeds) + threshold_offset, 6)"


class ThresholdError(ValueError):
    """The baselines can't give a threshold; the message says which are missing and what to do."""


def threshold_from(
    results: pd.DataFrame,
    *,
    seeds: Sequence[int],
    offset: float = 0.02,
    min_success: int = 1,
    metric: str = "val_bpb",
    results_csv: str = "",
) -> BaselineThreshold:
    """The baselines' median loss plus an offset.

    threshold = round(median over the required seeds of min_val_bpb + offset, 6).

    Args:
        results: rows of results.csv in the order they were appended; columns `seed`, `status`, `min_val_bpb` and,
            where known, `experiment_name`. The latest row of a seed counts, whatever stood there before.
        seeds: the required seeds.
        offset: added to the median [bpb], >= 0. With 0 one of three baselines fails its own target.
        min_success: good baselines needed.
        metric: `val_bpb`.
        results_csv: where the rows come from, for the record.

    Raises:
        ThresholdError: a negative offset, a missing column, required seeds whose latest row is not `ok` or has no
            finite metric (all are named), or fewer good ones than `min_success`.

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"seed": [41, 42, 43], "status": "ok", "min_val_bpb": [0.93, 0.91, 0.925]})
    >>> threshold_from(rows, seeds=[41, 42, 43], offset=0.02).recommended_target_threshold
    0.945
    """
    column = METRIC_COLUMNS.get(metric)
    if column is None:
        raise ThresholdError(f"target metric {metric!r} is not known; it is one of {', '.join(METRIC_COLUMNS)}")
    if not math.isfinite(offset) or offset < 0:
        raise ThresholdError(f"threshold offset {offset} is not allowed: it is a finite number >= 0 [bpb]")
    absent = [name for name in ("seed", "status", column) if name not in results.columns]
    if absent:
        raise ThresholdError(f"{results_csv or 'baseline results'} has no column {', '.join(absent)}")
    required = list(dict.fromkeys(int(seed) for seed in seeds))
    if not required:
        raise ThresholdError("no baseline seed is required, so there is nothing to take a threshold from")

    latest = _latest_rows(results, results_csv)
    good = [run for seed in required if (run := _successful(latest.get(seed), column)) is not None]
    if len(good) < len(required):
        raise ThresholdError(_missing_message(required, latest, column, results_csv))
    if len(good) < min_success:
        raise ThresholdError(
            f"{len(good)} good baselines, but {min_success} are needed. "
            f"Train more baseline seeds (LANE_B_BASELINE_SEEDS) or lower LANE_B_BASELINE_MIN_SUCCESS."
        )
    middle = median(run.min_val_bpb for run in good)
    return BaselineThreshold(
        timestamp_utc=utc_now(),
        results_csv=results_csv,
        target_metric_name=metric,
        threshold_formula=FORMULA,
        threshold_offset=offset,
        required_seeds=tuple(str(seed) for seed in required),
        min_successful_runs=min_success,
        successful_runs_count=len(good),
        successful_runs=tuple(good),
        median_min_val_bpb=middle,
        recommended_target_threshold=round(middle + offset, 6),
    )


def _latest_rows(results: pd.DataFrame, results_csv: str) -> dict[int, dict[str, Any]]:
    latest: dict[int, dict[str, Any]] = {}
    for number, row in enumerate(results.to_dict("records"), start=2):
        seed = _number(row["seed"])
        if seed is None or seed != int(seed):
            raise ThresholdError(
                f"{results_csv or 'baseline results'} line {number}: seed {row['seed']!r} is not an integer"
            )
        latest[int(seed)] = {str(key): value for key, value in row.items()} | {"_line": number}
    return latest


def _successful(row: dict[str, Any] | None, column: str) -> SuccessfulRun | None:
    if row is None or str(row["status"]).strip() != "ok":
        return None
    value = _number(row[column])
    if value is None:
        return None
    name = row.get("experiment_name", "")
    return SuccessfulRun(
        seed=str(int(float(row["seed"]))), experiment_name=name if isinstance(name, str) else "", min_val_bpb=value
    )


def _missing_message(required: list[int], latest: dict[int, dict[str, Any]], column: str, results_csv: str) -> str:
    causes, missing = [], []
    for seed in required:
        row = latest.get(seed)
        if _successful(row, column) is not None:
            continue
        missing.append(seed)
        if row is None:
            causes.append(f"seed {seed} has no row")
        elif str(row["status"]).strip() != "ok":
            causes.append(f"seed {seed}'s latest row (line {row['_line']}) is {row['status']}")
        else:
            causes.append(f"seed {seed}'s latest row (line {row['_line']}) has no finite {column}")
    have = [str(seed) for seed in required if seed not in missing]
    return (
        f"{results_csv or 'baseline results'}: {'; '.join(causes)}; so the threshold has {len(have)} of "
        f"{len(required)} required baselines ({', '.join(have) or 'none'}). "
        f"Rerun with laneb run, or materialize baseline_runs partition {', '.join(str(seed) for seed in missing)}."
    )


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def target_threshold(computed: BaselineThreshold, explicit: float | None) -> tuple[float, str]:
    """The threshold that counts [bpb], and a warning where an explicit one differs from the computed one.

    An explicit threshold (LANE_B_TARGET_THRESHOLD) beats the baselines' own.
    """
    own = computed.recommended_target_threshold
    if explicit is None or math.isclose(explicit, own, abs_tol=5e-7):
        return own, ""
    return explicit, (
        f"the threshold is {explicit:.6f} by LANE_B_TARGET_THRESHOLD, but the baselines' median "
        f"{computed.median_min_val_bpb:.6f} + {computed.threshold_offset:g} gives {own:.6f}. Unset it to use theirs."
    )
