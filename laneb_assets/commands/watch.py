"""`laneb watch`: all runs of a lane as they train, wherever they run."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from laneb.report.answer import duration
from laneb.settings import Settings, load_settings
from laneb.training.progress import Follower, Progress
from laneb.training.run_directory import RESULT, SPEC
from laneb_assets.views.terminal import console

if TYPE_CHECKING:
    from rich.console import RenderableType

POLL_SECONDS = 1.0
SILENT_SECONDS = 120.0
"""A run that said nothing for so long, and did not end, has likely stopped."""
COLUMNS = ("run", "state", "step", "of", "loss", "bpb", "tok/s", "left")


def watch_command(profile: str | None, work_dir: str | None, *, once: bool) -> None:
    """Follow the runs until Ctrl-C; with `once`, or where nobody watches, print them as they are."""
    settings = load_settings(profile, work_dir=work_dir)
    screen = console()
    watched = Watched(settings)
    if once or not screen.is_terminal:
        watched.poll()
        screen.print(watched.shown())
        return
    from rich.live import Live

    try:
        with Live(console=screen, auto_refresh=False) as live:
            while True:
                watched.poll()
                live.update(watched.shown(), refresh=True)
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        click.echo("laneb: no longer watching; the runs go on.", err=True)


class Watched:
    """The runs of a work directory, and how far each is."""

    def __init__(self, settings: Settings) -> None:
        self._experiment, self._dir = settings.experiment, settings.locations.runs_dir
        self._followers: dict[Path, Follower] = {}

    def poll(self) -> None:
        """Look for new runs, and read on in those that are known."""
        for spec in sorted(self._dir.glob(f"*/{SPEC}")):
            # A run of another fingerprint, set aside, has it behind the name.
            if "." not in spec.parent.name:
                self._followers.setdefault(spec.parent, Follower(spec.parent))
        for follower in self._followers.values():
            follower.poll()

    def rows(self) -> list[tuple[str, ...]]:
        """A row of `COLUMNS` per run: those that train first, then those to come, then the finished."""
        states = [(state_of(run_dir, follower.progress), run_dir, follower.progress)
                  for run_dir, follower in self._followers.items()]  # fmt: skip
        order = ["trains", "silent", "waits", "stopped", "failed", "done"]
        states.sort(key=lambda found: (order.index(found[0]), found[1].name))
        return [_row(state, run_dir.name, progress) for state, run_dir, progress in states]

    def shown(self) -> "RenderableType":
        """The table, or that there is nothing yet."""
        from rich.table import Table

        rows = self.rows()
        if not rows:
            return f"{self._experiment}: no run has started in {self._dir} (start them with: laneb run)"
        done = sum(row[1] == "done" for row in rows)
        left = [
            follower.progress.eta_sec
            for run_dir, follower in self._followers.items()
            if state_of(run_dir, follower.progress) == "trains" and follower.progress.eta_sec is not None
        ]
        title = f"{self._experiment}: {done} of {len(rows)} runs so far are done"
        title += f", {duration(sum(left))} left of those that train" if left else ""
        table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
        for name in COLUMNS:
            table.add_column(name, justify="left" if name in ("run", "state") else "right", no_wrap=name != "run")
        for row in rows:
            table.add_row(*row)
        return table


def state_of(run_dir: Path, progress: Progress) -> str:
    """What a run is at: trains, silent, waits, stopped, failed or done."""
    if (run_dir / RESULT).exists():
        return "done"
    if progress.event == "error":
        return "failed"
    if progress.ended:
        return "stopped"
    if not progress.event:
        return "waits"
    silent = time.time() - (run_dir / "events.jsonl").stat().st_mtime > SILENT_SECONDS
    return "silent" if silent else "trains"


def _row(state: str, name: str, progress: Progress) -> tuple[str, ...]:
    def text(value: float | None, form: str) -> str:
        return "-" if value is None else f"{value:{form}}"

    left = "-" if state != "trains" or progress.eta_sec is None else duration(progress.eta_sec)
    return (
        name,
        state,
        f"{progress.step:,}",
        text(progress.steps, ","),
        text(progress.loss, ".3f"),
        text(progress.bpb, ".4f"),
        text(progress.tok_per_sec, ",.0f"),
        left,
    )
