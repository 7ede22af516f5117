"""Candidate runs: the manifest's rows."""

from __future__ import annotations

from typing import Literal

from laneb.records.base import Record

Mode = Literal["inferred", "confirmation", "fallback"]
MODES: tuple[Mode, ...] = ("inferred", "confirmation", "fallback")


class CandidateRow(Record):
    """A row of candidate_runs.csv."""

    run_id: str
    seed: int
    mode: Mode
    chosen_ratio: float
    status: Literal["ok", "failed", "failed_nan", "missing_log"]
    log_path: str
