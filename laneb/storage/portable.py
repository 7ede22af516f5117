"""Records that name files, in a form that a copied base directory can be worked on from.

What a record holds in memory is a whole path; in its file it is relative to the base or the work directory. Files that
hold a whole path, as older ones do, are understood as naming the same thing here: a copy never reads its original.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TypeVar

from laneb.brought import shortened
from laneb.places import AnyPath, Locations
from laneb.records.base import Record
from laneb.records.baseline import BaselineThreshold
from laneb.records.candidates import CandidateRow
from laneb.records.corpus import TokenizerInfo, TokenShards
from laneb.records.runs import RunResult
from laneb.storage.atomic import StorageError

RecordT = TypeVar("RecordT", bound=Record)


def portable(record: RecordT, at: Locations) -> RecordT:
    """The record as its file holds it: what lies under the base or work directory relative to that."""
    changes = {}
    if isinstance(record, TokenizerInfo | TokenShards):
        changes["path"] = _below(record.path, at.base_dir)
    elif isinstance(record, RunResult):
        changes["log_path"] = _below(record.log_path, at.work_dir)
    return record.model_copy(update=changes)


def resolved(record: RecordT, at: Locations) -> RecordT:
    """The record of a file, with whole paths at these locations."""
    changes = {}
    if isinstance(record, TokenizerInfo | TokenShards):
        changes["path"] = str(_corpus_folder(record.path, at))
    elif isinstance(record, BaselineThreshold) and not at.results_are_imported:
        changes["results_csv"] = str(at.baseline_results_csv)
    return record.model_copy(update=changes)


def resolved_run(role: str, result: RunResult, at: Locations) -> RunResult:
    """The result that was kept under a role, with the place of its log at these locations."""
    if not result.log_path:
        return result
    if _is_whole(result.log_path):
        # Runs trained here keep their logs in two folders; those that were made elsewhere stay where they are.
        folder = at.baseline_results_dir if role.startswith("baseline_") else at.log_dir
        path = result.log_path if role.startswith("imported_") else str(folder / _name(result.log_path))
    else:
        path = str(at.work_dir / _within(at.work_dir, result.log_path))
    return result.model_copy(update={"log_path": path})


def here(row: CandidateRow, at: Locations) -> CandidateRow:
    """A row of the manifest, whose log is this work directory's, wherever the file was written.

    People's scripts open that path, so the file holds it whole.
    """
    return row.model_copy(update={"log_path": str(at.log_dir / _name(row.log_path))}) if row.log_path else row


def _corpus_folder(path: str, at: Locations) -> Path:
    if not _is_whole(path):
        return at.base_dir / _within(at.base_dir, path)
    made_here = Path(path).parent.parts[-2:] == at.corpus_dir.parts[-2:]
    return at.corpus_dir / Path(path).name if made_here else Path(path)


def _within(folder: AnyPath, path: str) -> str:
    """A relative path that does not leave a folder.

    Raises:
        StorageError: it would; no file that was written here says that.
    """
    if "\0" in path or ".." in PurePosixPath(path.replace("\\", "/")).parts:
        raise StorageError(f"{shortened(repr(path))} leads out of {folder}. `laneb run` makes what says so again.")
    return path


def _below(path: str, folder: AnyPath) -> str:
    """A path relative to a folder, with forward slashes, where it lies below it; else as it is."""
    prefix = str(folder).rstrip("/\\")
    below = path.removeprefix(prefix)
    return below.lstrip("/\\").replace("\\", "/") if below != path and below[:1] in ("/", "\\") else path


def _is_whole(path: str) -> bool:
    return "://" in path or Path(path).is_absolute()


def _name(path: str) -> str:
    return PurePosixPath(path.replace("\\", "/")).name
