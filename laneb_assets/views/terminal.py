"""What `laneb run` shows: a line per step, and a progress bar with loss, bpb and ETA while a run trains."""

import contextlib
import math
import os
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from typing_extensions import Self

from laneb.storage.warehouse import Warehouse
from laneb.training.progress import Follower
from laneb.training.run_directory import EVENTS
from laneb_assets.views.lane_progress import LaneProgress
from laneb_assets.views.progress import listeners

SHOWN_NUMBERS = 4
_POLL_SECONDS, _LOOK_SECONDS = 0.2, 1.0

WIDE, LABEL, NARROW_LABEL = 110, 34, 26
"""Columns from which a window counts as wide, and those of a step's label in one and in a narrow one."""

PLAIN_WIDTH = 160
"""Columns of what is written to a file or a pipe, which no window folds."""


def console(file: TextIO | None = None) -> Console:
    """A console for people: as wide as their window, or wide enough where there is none. Honours NO_COLOR."""
    # In a window lines break between words; what is written to a file or a pipe is left whole.
    made = Console(file=file, highlight=False)
    return made if made.is_terminal else Console(file=file, highlight=False, soft_wrap=True, width=PLAIN_WIDTH)


def opened(duckdb_path: Path) -> Warehouse:
    """The DuckDB file, for a command: whom it waits for is said on standard error."""
    return Warehouse(duckdb_path, say=lambda sentence: print(f"laneb: {sentence}", file=sys.stderr, flush=True))


class Terminal:
    """The person's terminal, while everything else that the process prints goes to a log file.

    Dagster's loggers and the training child write to file descriptors 1 and 2; both are pointed at `log_path`, and this
    object keeps the real ones.
    """

    def __init__(self, log_path: Path, runs_dir: Path, lane: LaneProgress) -> None:
        self._log_path = log_path
        self._runs_dir = runs_dir
        self._lane = lane
        self._saved: tuple[int, int] | None = None
        self._out: TextIO = sys.stdout
        self.console = console()

    def __enter__(self) -> Self:
        sys.stdout.flush()
        sys.stderr.flush()
        self._saved = (os.dup(1), os.dup(2))
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
        self.console = console(self._out)
        self._log_path.parent.mkdir(parents=True, exist_ok=True)
        log = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._saved is not None
        for number, (stream, saved) in enumerate(zip((sys.stdout, sys.stderr), self._saved, strict=True), start=1):
            try:
                stream.flush()
            except OSError:
                # The log found no room. What is left of it goes nowhere: the terminal is for saying why.
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, number)
                os.close(nowhere)
                stream.flush()
            os.dup2(saved, number)
            os.close(saved)
        self._out.close()
        self.console = console()

    def line(self, mark: str, label: str, seconds: float, text: str, style: str = "") -> None:
        """A step's line; what does not fit into the window stands below, whole word by whole word."""
        took = f"{seconds:6.1f} s" if seconds else " " * 8
        wide = not self.console.is_terminal or self.console.width >= WIDE
        head = f"{mark} {label:<{LABEL if wide else NARROW_LABEL}} {took}  " if label else f"{mark} "
        if self.console.is_terminal:
            rows = textwrap.wrap(
                text, max(20, self.console.width - len(head)), break_long_words=False, break_on_hyphens=False
            )
            text = ("\n" + " " * len(head)).join(rows)
        self.console.print(escape(head + text), style=style)

    @contextlib.contextmanager
    def watching(self, label: str) -> Iterator[None]:
        """Show the progress of whatever run trains meanwhile; only on a real terminal."""
        if not self.console.is_terminal:
            yield
            return
        progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24 if self.console.width >= WIDE else 10),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            # sys.stdout and sys.stderr go to the log file; rich would bring them back to the screen.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        done = threading.Event()
        with progress:
            task = progress.add_task(escape(label), total=None, note="")

            def follow(at: int, total: int, note: str) -> None:
                progress.update(task, total=total, completed=at, note=escape(note))

            listeners.append(follow)
            watched = (progress, task, self._runs_dir, self._lane, done)
            watcher = threading.Thread(target=_watch, args=watched, daemon=True)
            watcher.start()
            try:
                yield
            finally:
                listeners.remove(follow)
                done.set()
                watcher.join()


def describe(numbers: Mapping[str, Any]) -> str:
    """The first few numbers of a materialization, for a line."""
    own = {name: value for name, value in numbers.items() if not name.startswith("dagster/")}
    shown = [f"{name} {_number(value)}" for name, value in own.items() if not isinstance(value, str)]
    return ", ".join(shown[:SHOWN_NUMBERS])


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _watch(progress: Progress, task: Any, runs_dir: Path, lane: LaneProgress, done: threading.Event) -> None:
    """Follow the run whose events grew last after now."""
    since = time.time()
    followers: dict[Path, Follower] = {}
    newest: Path | None = None
    finished: set[str] = set()
    looked = -math.inf
    while not done.wait(_POLL_SECONDS):
        # A lane may have a thousand runs: their directories are looked through less often than one file is read.
        if time.monotonic() - looked >= _LOOK_SECONDS:
            newest, finished, looked = _newest(runs_dir, since), lane.finished(runs_dir), time.monotonic()
        if newest is None:
            continue
        follower = followers.setdefault(newest, Follower(newest))
        follower.poll()
        run = follower.progress
        note = lane.note(newest.name, run, finished - {newest.name})
        progress.update(task, total=run.steps, completed=run.step, note=note)


def _newest(runs_dir: Path, since: float) -> Path | None:
    with contextlib.suppress(OSError):
        changed = [(path.stat().st_mtime, path.parent) for path in runs_dir.glob(f"*/{EVENTS}")]
        return max((found for found in changed if found[0] >= since), default=(0.0, None))[1]
    return None
