"""The manifest and the schema rows of an experiment's candidate runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from laneb.decision.candidates import Candidate, plan_candidates
from laneb.records.base import canonical_hash, utc_now
from laneb.records.candidates import CandidateRow, Mode
from laneb.storage.schema_table import SCHEMA_COLUMNS, SchemaRow, row_from_values
from laneb.training.time_to_target import TimeToTarget, time_to_target

if TYPE_CHECKING:
    import pandas as pd

    from laneb.knobs import CandidateKnobs
    from laneb.records.inference import Inference
    from laneb.records.runs import RunResult

REALISED_TOLERANCE = 0.01
"""Whole steps realise a ratio only roughly; beyond this share the difference is said."""


@dataclass(frozen=True)
class SchemaRows:
    """The rows of one campaign with their fingerprints, and its manifest."""

    manifest: tuple[CandidateRow, ...]
    rows: tuple[SchemaRow, ...]
    fingerprints: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """The rows as a frame of the 21 columns."""
        import pandas as pd

        rows: pd.DataFrame = pd.DataFrame([dict(row.values) for row in self.rows], columns=list(SCHEMA_COLUMNS))
        return rows

    def content_hash(self) -> str:
        """Identity of the rows, whenever they were made."""
        cells = [{**row.values, "timestamp_utc": None} for row in self.rows]
        return canonical_hash([cells, self.fingerprints, [row.model_dump(mode="json") for row in self.manifest]])


def run_time_to_target(run: RunResult, threshold: float, knobs: CandidateKnobs) -> TimeToTarget:
    """A run's time to the threshold, read from its own curve as the experiment's knobs say."""
    return time_to_target(
        run.val_curve,
        threshold,
        method=knobs.time_to_target_extrapolation,
        power_law_min_points=knobs.time_to_target_power_law_min_points,
        power_law_max_points=knobs.time_to_target_power_law_max_points,
        power_law_fit_r2_min=knobs.time_to_target_power_law_fit_r2_min,
    )


def schema_rows(
    inference: Inference,
    runs: Mapping[tuple[Mode, int], RunResult],
    knobs: CandidateKnobs,
    *,
    default_ratio: float,
) -> SchemaRows:
    """A manifest row for each planned candidate, and a schema row for each that has a result."""
    planned = [
        candidate
        for seed in knobs.run_seeds
        for candidate in plan_candidates(inference, seed=seed, default_ratio=default_ratio)
    ]
    done = [(candidate, runs[candidate.mode, candidate.seed]) for candidate in planned if _has(runs, candidate)]
    return SchemaRows(
        manifest=tuple(_manifest(planned, runs)),
        rows=tuple(_schema_row(candidate, run, inference, knobs) for candidate, run in done),
        fingerprints=tuple(_campaign_fingerprint(run) for _, run in done),
    )


def _campaign_fingerprint(run: RunResult) -> str:
    """Identity of a run and of what it was trained for: at another threshold, an equal run is another row."""
    if run.made_for is None:
        return run.fingerprint
    return canonical_hash([run.fingerprint, run.made_for.model_dump(mode="json")])


def _has(runs: Mapping[tuple[Mode, int], RunResult], candidate: Candidate) -> bool:
    return (candidate.mode, candidate.seed) in runs


def _manifest(planned: Iterable[Candidate], runs: Mapping[tuple[Mode, int], RunResult]) -> Iterable[CandidateRow]:
    for candidate in planned:
        run = runs.get((candidate.mode, candidate.seed))
        yield CandidateRow(
            run_id=candidate.run_id,
            seed=candidate.seed,
            mode=candidate.mode,
            chosen_ratio=candidate.ratio,
            status=run.status if run else "missing_log",
            log_path=run.log_path if run else "",
        )


def _schema_row(candidate: Candidate, run: RunResult, inference: Inference, knobs: CandidateKnobs) -> SchemaRow:
    time = run_time_to_target(run, inference.target_metric_threshold, knobs)
    return row_from_values(
        {
            "timestamp_utc": utc_now(),
            "git_commit": run.git_commit,
            "run_id": candidate.run_id,
            "seed": candidate.seed,
            "dataset_id": inference.dataset_id,
            "target_metric_name": "val_bpb",
            "target_metric_threshold": inference.target_metric_threshold,
            "n_scaling_params": inference.n_scaling_params,
            "inferred_data_scaling_exponent": inference.inferred_data_scaling_exponent,
            "inferred_target_tokens": inference.inferred_target_tokens,
            "inferred_target_param_data_ratio": inference.inferred_target_param_data_ratio,
            "confirmation_ratio": inference.confirmation_ratio,
            "chosen_ratio": candidate.ratio,
            "lane_b_decision": candidate.mode,
            "time_to_target_sec_measured": time.measured_sec,
            "time_to_target_sec_extrapolated": time.extrapolated_sec,
            "min_val_bpb": run.min_val_bpb,
            "tok_per_sec_median": run.tok_per_sec_median,
            "dt_median_ms": run.dt_median_ms,
            "status": run.status,
            "notes": _notes(candidate, run, time),
        }
    )


def _notes(candidate: Candidate, run: RunResult, time: TimeToTarget) -> str:
    notes = [f"realised_ratio={run.realised_ratio:.6g}", f"steps={run.steps}", f"run={run.run_id}"]
    if abs(run.realised_ratio / candidate.ratio - 1) > REALISED_TOLERANCE:
        notes.append("realised ratio differs from the requested one by more than 1%")
    if time.method:
        notes.append(f"extrapolation={time.method}")
    if time.reason:
        notes.append(f"no_time={time.reason}")
    return "; ".join(notes)
