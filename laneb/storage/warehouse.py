"""The DuckDB file: the lane B schema table of all experiments.

DuckDB lets one process at a time write, so every call here opens the file, does one short transaction and closes it;
a file that another process holds is waited for, which is said, then reported with its holder. Training never opens it.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from laneb.storage.atomic import StorageError, remedy
from laneb.storage.schema_table import SCHEMA_COLUMNS, SchemaRow
from laneb.storage.warehouse_tables import (
    TABLE,
    VERSION_TABLE,
    has_table,
    insert,
    migrate,
    one,
    row_fingerprint,
    transaction,
)

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_COMPARED = ("experiment", "arm", "runs", "ratio", "threshold", "min_val_bpb", "time_to_target_sec", "reached")
_NO_ROOM = ("No space left", "File too large", "Disk quota")
_NO_RIGHT = ("Permission denied", "Read-only", "read-only")
_QUIET_SECONDS = 1.0
"""What others hold no longer than this is waited for without a word."""
_ROW = ", ".join(("experiment", "run_fingerprint", *SCHEMA_COLUMNS))
# DuckDB refuses a second connection of another configuration within one process, so those take turns.
_one_connection = threading.Lock()


class HeldError(StorageError):
    """Another process holds the file."""


@dataclass(frozen=True)
class Warehouse:
    """The DuckDB file at `path`.

    `wait_seconds` is how long a lock held by another process is waited for; `say` gets a sentence, with the holder,
    when it is waited for.
    """

    path: Path
    wait_seconds: float = 60.0
    say: Callable[[str], None] = field(default=lambda sentence: None, compare=False)

    @contextlib.contextmanager
    def connect(self, *, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that is closed whatever happens inside.

        Raises:
            StorageError: another process held the lock all the while (it is named), or the file is not DuckDB's.
        """
        import duckdb

        deadline = time.monotonic() + self.wait_seconds
        with _one_connection:
            with self._turn(read_only):
                connection = self._open(read_only, deadline)
            try:
                if not read_only:
                    migrate(connection)
                yield connection
            except duckdb.Error as error:
                raise self._unusable(error) from error
            finally:
                connection.close()

    @contextlib.contextmanager
    def _turn(self, read_only: bool) -> Iterator[None]:
        """One process at a time opens the file, by a lock of ours beside it, and the first makes it.

        DuckDB's own lock knows no queue: among readers that come and go, a writer would find it free by chance alone. A
        writer that has its turn here only waits for those that are in the file already.
        """
        from filelock import FileLock, Timeout

        quiet = min(_QUIET_SECONDS, self.wait_seconds)
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=quiet, poll_interval=0.02)
        try:
            if not read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout:
                if quiet == self.wait_seconds:
                    raise
                self._say_who(self._ask())
                lock.acquire(timeout=self.wait_seconds - quiet)
        except Timeout:
            pass  # who is in the file that long is named by who asks DuckDB
        except OSError as error:
            # Where no lock can be made, a file that is there can still be read, and its disk may only be full.
            if not self.path.exists():
                raise self._uncreatable(error) from error
        try:
            if not read_only and not self.path.exists():
                self._create()
            yield
        finally:
            lock.release()

    def _create(self) -> None:
        """An empty database, seen whole or not at all.

        DuckDB looks whether the file is there before it locks it, so of two processes that find none, the second one
        would write an empty database over what the first has committed by then; and one that a full disk or a kill
        stopped while it was made can't be opened any more.
        """
        import duckdb

        new = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}.new")
        try:
            duckdb.connect(str(new)).close()
            new.rename(self.path)
        except OSError as error:
            raise self._uncreatable(error) from error
        except duckdb.Error as error:
            raise self._unusable(error) from error
        finally:
            for left in new.parent.glob(f"{new.name}*"):
                left.unlink(missing_ok=True)

    def _uncreatable(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.path} can't be created: {error.strerror or error}. {remedy(error)}, or choose another place with "
            "LANE_B_DUCKDB_PATH."
        )

    def _open(self, read_only: bool, deadline: float) -> duckdb.DuckDBPyConnection:
        import duckdb
        import tenacity

        loud = time.monotonic() + _QUIET_SECONDS

        def waits(state: tenacity.RetryCallState) -> None:
            nonlocal loud
            if state.outcome is not None and time.monotonic() >= loud:
                loud = float("inf")
                self._say_who(state.outcome.exception())

        retrying = tenacity.Retrying(
            before_sleep=waits,
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, duckdb.IOException) and _is_lock(error)),
            wait=tenacity.wait_random(0.01, 0.05),
            stop=lambda state: time.monotonic() >= deadline,
            reraise=True,
        )
        try:
            return retrying(duckdb.connect, str(self.path), read_only=read_only)
        except duckdb.IOException as error:
            if _is_lock(error):
                raise HeldError(
                    f"{self.path} is held by {_holder(error)} since more than {self.wait_seconds:g} s. Close it there, "
                    "then try again."
                ) from error
            raise self._unusable(error) from error
        except duckdb.Error as error:
            raise self._unusable(error) from error

    def _say_who(self, error: BaseException | None) -> None:
        self.say(f"{self.path} is held by {_holder(error)}: waiting for it, up to {self.wait_seconds:g} s")

    def _ask(self) -> Exception | None:
        """DuckDB's error, which knows who holds the file; None if nobody does."""
        import duckdb

        try:
            duckdb.connect(str(self.path), read_only=True).close()
        except duckdb.Error as error:
            return error
        return None

    def _unusable(self, error: Exception) -> StorageError:
        """What to say of a file that can't be opened, or whose content can't be read or written."""
        said = f"{self.path} can't be used as a DuckDB file: {_first_line(error)}"
        if any(word in said for word in _NO_ROOM):
            return StorageError(f"{said}. Free some space and run it again: what was committed is still there.")
        if any(word in said for word in _NO_RIGHT):
            return StorageError(f"{said}. Make it writable, or choose another place with LANE_B_DUCKDB_PATH.")
        return StorageError(
            f"{said}. If it was cut or damaged, delete it: each experiment's next `laneb run` writes its rows again "
            "(imported ones: laneb schema import)."
        )

    def upsert(
        self, experiment: str, rows: Sequence[SchemaRow], fingerprints: Sequence[str], *, skip_existing: bool
    ) -> int:
        """Write rows in one transaction; returns how many were new or replaced.

        A row whose key (experiment, run_id, run_fingerprint) exists stays as it is when `skip_existing`, and is
        replaced otherwise; either way it becomes the current row of its run_id.
        """
        if len(rows) != len(fingerprints):
            raise ValueError(f"{len(rows)} rows but {len(fingerprints)} fingerprints.")
        written = 0
        with self.connect() as connection, transaction(connection):
            for row, fingerprint in zip(rows, fingerprints, strict=True):
                key = [experiment, row.values["run_id"], fingerprint]
                where = "WHERE experiment = ? AND run_id = ? AND run_fingerprint = ?"
                [revision] = one(connection, f"SELECT coalesce(max(abs(revision)), 0) + 1 FROM {TABLE}")
                [known] = one(connection, f"SELECT count(*) FROM {TABLE} {where}", key)
                if known and skip_existing:
                    connection.execute(f"UPDATE {TABLE} SET revision = ? {where}", [revision, *key])
                    continue
                connection.execute(f"DELETE FROM {TABLE} {where}", key)
                insert(connection, experiment, fingerprint, revision, row)
                written += 1
        return written

    def keep_campaign(
        self, experiment: str, rows: Sequence[SchemaRow], fingerprints: Sequence[str], *, skip_existing: bool
    ) -> int:
        """`upsert` the rows of a campaign and retire every other row of the experiment's own runs.

        A retired row stays in the table, but is no current row: its seed was removed, its run failed to be repeated, or
        it was trained for another inference. Imported rows are nobody's campaign, and stay as they are.
        """
        written = self.upsert(experiment, rows, fingerprints, skip_existing=skip_existing)
        kept = {(row.values["run_id"], fingerprint) for row, fingerprint in zip(rows, fingerprints, strict=True)}
        with self.connect() as connection, transaction(connection):
            query = f"SELECT run_id, run_fingerprint, csv_text FROM {TABLE} WHERE experiment = ? AND revision > 0"
            for run_id, fingerprint, text in connection.execute(query, [experiment]).fetchall():
                if (run_id, fingerprint) not in kept and fingerprint != row_fingerprint(text):
                    connection.execute(
                        f"UPDATE {TABLE} SET revision = -revision "
                        "WHERE experiment = ? AND run_id = ? AND run_fingerprint = ?",
                        [experiment, run_id, fingerprint],
                    )
        return written

    def import_rows(self, experiment: str, rows: Sequence[SchemaRow], *, skip_existing: bool) -> int:
        """Rows of a CSV made elsewhere, as rows of `experiment`; a row's fingerprint is the hash of its text."""
        return self.upsert(experiment, rows, [row_fingerprint(row.text) for row in rows], skip_existing=skip_existing)

    def current_rows(self, experiment: str) -> pd.DataFrame:
        """The latest row of each run_id: experiment, run_fingerprint and the 21 columns, in order of writing."""
        return self._select(_current("experiment = ?"), [experiment])

    def all_rows(self, experiment: str | None = None) -> pd.DataFrame:
        """Every row, earlier campaigns too, of one experiment or of all."""
        return self._select(*_every(experiment))

    def arms(self) -> pd.DataFrame:
        """Experiments side by side: a row for each one's inferred, confirmation or fallback runs.

        Returns:
            experiment, arm, runs, and medians over the current `ok` rows: ratio, threshold [bpb], min_val_bpb [bpb],
            time_to_target_sec [s], of those of the runs that reached the threshold: `reached` many.
        """
        query = (
            "SELECT experiment, lane_b_decision AS arm, count(*) AS runs, median(chosen_ratio) AS ratio, "
            "median(target_metric_threshold) AS threshold, median(min_val_bpb) AS min_val_bpb, "
            "median(time_to_target_sec_measured) AS time_to_target_sec, "
            "count(time_to_target_sec_measured) AS reached, max(revision) AS revision "
            f"FROM ({_current('TRUE')}) WHERE status = 'ok' GROUP BY ALL"
        )
        return self._select(query, [], columns=", ".join(_COMPARED))

    def csv_texts(self, experiment: str, *, every: bool = False) -> list[str]:
        """The CSV text of the current rows, or of every row."""
        query, parameters = _every(experiment) if every else (_current("experiment = ?"), [experiment])
        # Each column is read, so that a damaged one is found before a table is exported that is only partly whole.
        frame = self._select(query, parameters, columns=f"{_ROW}, csv_text")
        return [str(text) for text in frame["csv_text"]]

    def damage(self) -> str:
        """Why rows can't be read; empty where they can, where there is no file, and where another process holds it."""
        try:
            replace(self, wait_seconds=0.0).all_rows()
        except HeldError:
            return ""
        except StorageError as error:
            return str(error)
        return ""

    def _select(self, query: str, parameters: list[str], columns: str = "") -> pd.DataFrame:
        import pandas as pd

        names = columns or _ROW
        frame: pd.DataFrame = pd.DataFrame(columns=names.split(", "))
        if not self.path.exists():
            return frame
        with self.connect(read_only=True) as connection:
            # A table that scripts made is taken over at the first write; until then it has no rows of an experiment.
            if has_table(connection, VERSION_TABLE):
                frame = connection.execute(f"SELECT {names} FROM ({query}) ORDER BY abs(revision)", parameters).df()
        return frame


def _current(condition: str) -> str:
    return (
        f"SELECT * FROM {TABLE} WHERE {condition} AND revision > 0 "
        "QUALIFY row_number() OVER (PARTITION BY experiment, run_id ORDER BY revision DESC) = 1"
    )


def _every(experiment: str | None) -> tuple[str, list[str]]:
    if experiment is None:
        return f"SELECT * FROM {TABLE}", []
    return f"SELECT * FROM {TABLE} WHERE experiment = ?", [experiment]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".! ")


def _holder(error: BaseException | None) -> str:
    """Who holds the file, as DuckDB names it."""
    found = re.search(r"held in (.+?\(PID \d+\))", str(error))
    return found.group(1) if found else "another process"


def _is_lock(error: Exception) -> bool:
    return "lock" in str(error).lower()
