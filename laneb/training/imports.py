"""Baseline results made elsewhere: results.csv and its logs, checked against each other before they are believed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from laneb.brought import is_plain_name
from laneb.records.base import canonical_hash
from laneb.records.runs import RunResult
from laneb.storage.results import ResultsError, latest_rows, read_results
from laneb.training.log import LogError, NoLogError, TrainingLog, parse_logs, run_result_from_log

if TYPE_CHECKING:
    import pandas as pd

    from laneb.places import AnyPath

RUN_COLUMNS = ("depth", "max_seq_len", "device_batch_size", "warmdown_ratio")
"""What a log does not say about its run and the row does."""

RESULTS_NAMES = ("results.csv", "baseline_results.csv")
"""What the file of the rows is called in a directory of results, in the order of preference."""

LOG_ENDS = ("", ".gz", ".zst")
"""What the packed forms of a log add to its name."""


@dataclass(frozen=True)
class ImportedResults:
    """Results that passed the checks.

    Attributes:
        rows: all rows of results.csv, as `read_results` gives them.
        runs: the run of each required seed whose log was found and says enough; the others count by their rows alone.
        warnings: what does not fit but does not forbid the import.
    """

    rows: pd.DataFrame
    runs: list[RunResult]
    warnings: list[str]


def results_place(given: AnyPath) -> tuple[AnyPath, AnyPath]:
    """The directory of results, and its file of rows, of what a person named: the directory, or the file itself.

    Raises:
        ResultsError: neither is there; says which names are looked for.
    """
    if given.is_file():
        return given.parent, given
    if not given.is_dir():
        raise ResultsError(f"{given} is not there: give a directory with {RESULTS_NAMES[0]} in it, or the CSV's path.")
    for name in RESULTS_NAMES:
        if (given / name).is_file():
            return given, given / name
    tables = sorted(path.name for path in given.glob("*.csv"))
    hint = f"; there is {', '.join(tables[:5])}: if that is it, give its path" if tables else ""
    raise ResultsError(f"{given} holds no {' and no '.join(RESULTS_NAMES)}{hint}.")


def check_results_directory(
    directory: AnyPath,
    required_seeds: Iterable[int],
    *,
    csv_path: AnyPath | None = None,
    n_scaling_params: int | None = None,
) -> ImportedResults:
    """Check a results directory; nothing in it is written.

    The latest row of a seed counts. Its log is `baseline_d<depth>_s<seed>_train.log`, or the only log in the directory
    whose name has `_s<seed>`, packed or not; of a log of several runs it is the one that has the row's lowest bpb. A
    cell that is empty or -1 contradicts nothing.

    Args:
        directory: holds the logs, and results.csv unless `csv_path` says otherwise.
        required_seeds: seeds that have to be there, finished and with a lowest bpb.
        csv_path: the results.csv.
        n_scaling_params: matrices and head, for logs that do not print them.

    Raises:
        ResultsError: results.csv can't be read, required seeds are missing (all are named), or a log contradicts its
            row: another seed, another lowest bpb, or a NaN in a run that the row calls ok.
    """
    path = directory / "results.csv" if csv_path is None else csv_path
    rows = read_results(path)
    latest = latest_rows(rows)
    _require(latest, sorted(set(required_seeds)), str(path))
    warnings = _misdated(rows, latest, str(path))
    runs: list[RunResult] = []
    for line, row in latest.iterrows():
        check = _RowCheck(row.where(row.notna(), None).to_dict(), f"{path} line {line}")
        log = _find_log(directory, check)
        if log is not None:
            check.compare(log)
            if check.row["seed"] in set(required_seeds):
                check.keep_run(log, n_scaling_params, runs)
        elif check.row["seed"] in set(required_seeds):
            check.warn(
                "has no readable log in the directory, so that its curve is unknown: it counts for the threshold alone "
                f"and is in no difference. Looked for: baseline_d{check.row['depth']}_s{check.row['seed']}_train.log"
            )
        warnings += check.warnings
    return ImportedResults(rows, runs, warnings)


def _require(latest: pd.DataFrame, seeds: list[int], path: str) -> None:
    """Refuse unless each seed's latest row is ok and has a lowest bpb."""
    problems = []
    for seed in seeds:
        rows = latest[latest["seed"] == seed]
        if rows.empty:
            problems.append(f"seed {seed} has no row")
        elif rows["status"].iloc[0] != "ok":
            problems.append(f"seed {seed}'s latest run (line {rows.index[0]}) is {rows['status'].iloc[0]}")
        elif not math.isfinite(rows["min_val_bpb"].iloc[0]):
            problems.append(f"seed {seed}'s latest run (line {rows.index[0]}) has no min_val_bpb")
    if problems:
        good = len(seeds) - len(problems)
        raise ResultsError(
            f"{path}: {'; '.join(problems)}: {good} of {len(seeds)} required baselines are there. Add good rows for "
            "them, or require other seeds with LANE_B_BASELINE_SEEDS."
        )


def _misdated(rows: pd.DataFrame, latest: pd.DataFrame, path: str) -> list[str]:
    """Warnings for seeds whose last row in the file is dated before another: the file may have been sorted."""
    warnings = []
    # Dates that a spreadsheet turned into its own form (20.02.2026 06:53) have no order as text.
    dated = rows[rows["timestamp"].str.match(r"\d{4}-\d\d-\d\dT")]
    for line, row in latest.iterrows():
        if line not in dated.index:
            continue
        newer = dated[(dated["seed"] == row["seed"]) & (dated["timestamp"] > row["timestamp"])]
        if not newer.empty:
            warnings.append(
                f"{path}: seed {row['seed']}: line {line} counts, as the last one, but line {newer.index[-1]} is dated "
                "later; was the file sorted?"
            )
    return warnings


def _find_log(directory: AnyPath, check: _RowCheck) -> TrainingLog | None:
    """The log of a row, or None with a warning where several could be it."""
    seed, depth = check.row["seed"], check.row["depth"]
    exact = directory / f"baseline_d{depth}_s{seed}_train.log"
    named = re.compile(rf".*_s{seed}([_.].*)?\.log(\.gz|\.zst)?$")
    found = [path for end in LOG_ENDS if (path := exact.with_name(exact.name + end)).is_file()][:1]
    found = found or sorted(p for p in directory.glob("*.log*") if named.match(p.name))
    if len(found) > 1:
        check.warn(
            f"could have one of the logs {', '.join(p.name for p in found)}; none is {exact.name}, so none counts"
        )
        return None
    try:
        return check.run_of(parse_logs(found[0])) if found else None
    except NoLogError as error:
        check.warn(f"has a file in the place of its log that is none, so it does not count: {error}")
        return None
    except LogError as error:
        raise ResultsError(f"{check.where}: {error}") from error


def _same(lowest: float, log: TrainingLog) -> bool:
    """Whether a row's lowest bpb is the log's, which is rounded to what it prints."""
    return log.min_val_bpb is not None and abs(lowest - log.min_val_bpb) <= 0.5000001 * 10.0**-log.bpb_decimals


@dataclass
class _RowCheck:
    """One row against its log. None in the row is unknown."""

    row: dict[str, Any]
    where: str
    warnings: list[str] = field(default_factory=list)

    def warn(self, sentence: str) -> None:
        self.warnings.append(f"{self.where}: seed {self.row['seed']} {sentence}")

    def refuse(self, log: TrainingLog, sentence: str) -> ResultsError:
        return ResultsError(
            f"{self.where}: {sentence} ({log.path}). Put the log of this run there, take it away, or correct the row."
        )

    def known(self, name: str) -> float | None:
        """A number of the row, or None where it says nothing: empty, or -1."""
        value = self.row[name]
        return None if value is None or value == -1 else float(value)

    def run_of(self, logs: list[TrainingLog]) -> TrainingLog | None:
        """The row's run among those of a log: the one with its lowest bpb, else the last; None where runs are mixed."""
        lowest = self.known("min_val_bpb")
        for log in logs:
            for warning in log.warnings:
                self.warn(f"has a doubtful log ({log.path}): {warning}")
        if any("print in turns" in warning for log in logs for warning in log.warnings):
            return None
        fitting = [log for log in logs if lowest is not None and log.min_val_bpb is not None and _same(lowest, log)]
        return fitting[-1] if fitting else logs[-1]

    def compare(self, log: TrainingLog) -> None:
        """Refuse a log of another run; warn about what differs without saying so."""
        row = self.row
        if log.printed_seed is not None and log.printed_seed != row["seed"]:
            raise self.refuse(log, f"the row is of seed {row['seed']} and its log of seed {log.printed_seed}")
        self._compare_bpb(log)
        if row["status"] == "ok" and log.status == "failed_nan":
            raise self.refuse(log, f"the row calls seed {row['seed']}'s run ok and its log has a NaN")
        if row["status"] != log.status:
            end = "" if log.complete else ", which did not end"
            self.warn(f"is {row['status']} in its row and {log.status} by its log{end} ({log.path})")
        for name, said in (
            ("total_batch_size", log.total_batch_size),
            ("target_metric_threshold", log.target_threshold),
        ):
            expected = self.known(name)
            if expected is not None and said is not None and not math.isclose(expected, said, rel_tol=1e-6):
                self.warn(f"has {name} {expected:.10g} in its row and {said:.10g} in its log ({log.path})")
        self._compare_ratio(log)

    def _compare_bpb(self, log: TrainingLog) -> None:
        lowest = self.known("min_val_bpb")
        if lowest is None or log.min_val_bpb is None:
            return
        if not _same(lowest, log):
            end = "" if log.complete else ", which did not end"
            raise self.refuse(
                log, f"seed {self.row['seed']}'s min_val_bpb is {lowest:.10g} and the lowest in its log{end}, "
                f"{log.min_val_bpb:.10g}"
            )  # fmt: skip

    def _compare_ratio(self, log: TrainingLog) -> None:
        """A horizon is whole steps, so the realised ratio is up to one step below the requested one."""
        asked = self.known("target_param_data_ratio")
        realised = log.realised_ratio
        if asked is None or realised is None or not log.complete:
            return
        step = 0.01
        if log.total_batch_size and log.n_scaling_params:
            step = log.total_batch_size / log.n_scaling_params
        if not -1e-6 * asked <= asked - realised <= step + 1e-6 * asked and abs(asked - realised) > 0.005:
            self.warn(
                f"was asked for {asked:.6g} tokens per scaling parameter and trained {realised:.6g} "
                f"({log.realised_steps:,} steps, {log.path}): what it trained counts"
            )

    def keep_run(self, log: TrainingLog, n_scaling_params: int | None, runs: list[RunResult]) -> None:
        """Add the row's run, or warn what is missing for it."""
        row = self.row
        unknown = [name for name in RUN_COLUMNS if row[name] is None]
        counts = log.n_scaling_params or n_scaling_params
        unknown += [] if counts else ["the number of scaling parameters"]
        batch = log.total_batch_size or self.known("total_batch_size")
        unknown += [] if batch else ["total_batch_size"]
        if unknown:
            self.warn(f"has no {', '.join(unknown)} in its row and log: it counts for the threshold alone ({log.path})")
            return
        shape = {name: row[name] for name in RUN_COLUMNS}
        # Directories are named after runs, so that what a table says is a run's name only where it can be one.
        name = row["experiment_name"] if is_plain_name(row["experiment_name"] or "") else ""
        runs.append(
            run_result_from_log(
                log,
                **shape,
                run_id=name or f"baseline_d{row['depth']}_s{row['seed']}",
                backend="imported",
                seed=row["seed"],
                status=row["status"],
                total_batch_size=int(batch or 0),
                n_scaling_params=counts,
                warmdown_shape=row["warmdown_shape"] or "linear",
                recipe=self._recipe(int(batch or 0), counts),
                wall_time_sec=row["wall_time_sec"],
                git_commit=row["git_commit"],
                timestamp_utc=row["timestamp"],
            )
        )

    def _recipe(self, total_batch_size: int, n_scaling_params: int | None) -> str:
        """Identity of what the row and its log tell of a run but seed and horizon."""
        names = ("depth", "max_seq_len", "warmdown_ratio", "warmdown_shape")
        return canonical_hash(["imported", *(self.row[name] for name in names), total_batch_size, n_scaling_params])
