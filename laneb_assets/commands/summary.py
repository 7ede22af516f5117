"""`laneb summary`: the answer, from the DuckDB table and the experiment's records."""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from laneb.records.base import finite
from laneb.report.comparison import COMPARISON_COLUMNS, comparison_rows, experiments
from laneb.report.lane import ARM_COLUMNS, NARROW_ARM_COLUMNS, Report, report_of
from laneb.settings import Settings, SettingsError, load_settings
from laneb.storage.atomic import StorageError
from laneb.storage.looks import read_looks
from laneb.storage.overrides import current_experiment
from laneb.storage.store import Store
from laneb_assets.views.terminal import WIDE, console, opened

if TYPE_CHECKING:
    from rich.table import Table


def summary_command(profile: str | None, work_dir: str | None, *, as_json: bool) -> None:
    """Print the summary of an experiment."""
    settings = load_settings(profile, work_dir=work_dir)
    if as_json:
        _print_json(lane_report(settings).to_json_dict())
    else:
        print_summary(settings)


def experiments_command(profile: str | None, work_dir: str | None, *, as_json: bool) -> None:
    """Print every experiment of the DuckDB file, arm by arm."""
    settings = load_settings(profile, work_dir=work_dir)
    path = settings.locations.duckdb_path
    arms = experiments(opened(path), settings.experiment, settings.locations)
    if as_json:
        _print_json({"duckdb_path": str(path), "arms": arms.to_dict("records")})
    elif arms.empty:
        click.echo(f"{path} has no rows of a candidate that ran well: materialize inference_schema (or run: laneb run)")
    else:
        screen, rows = console(), comparison_rows(arms)
        if screen.width < WIDE:
            # `reached` says how many runs there are, too.
            rows = [(*row[:2], *row[3:]) for row in rows]
            screen.print(_table(NARROW_COMPARISON, rows, left=("experiment", "arm", "verdict"), close=True))
        else:
            screen.print(_table(COMPARISON_COLUMNS, rows, left=("experiment", "arm", "verdict")))


def print_summary(settings: Settings, said: Collection[str] = ()) -> None:
    """The answer, the runs, the reasons, the tally and the warnings, but those that were said, on one screen."""
    from rich.markup import escape

    report = lane_report(settings)
    screen = console()
    # On a screen lines break between words; what is written to a file or a pipe is left whole.
    whole = not screen.is_terminal
    colour = {"ACCEPT": "green", "REJECT": "red"}.get(report.answer.kind, "yellow")
    screen.print(f"\n[bold {colour}]{escape(report.answer.sentence)}.[/]\n", soft_wrap=whole)
    narrow = screen.width < WIDE
    if rows := report.arm_rows(narrow=narrow):
        screen.print(_table(NARROW_ARM_COLUMNS if narrow else ARM_COLUMNS, rows, left=("arm", "status")))
    for line in [*(["", *report.reasons] if rows else []), *report.lines()]:
        screen.print(escape(line), soft_wrap=whole)
    for warning in report.warnings:
        if warning not in said:
            screen.print(f"[yellow]![/] {escape(warning)}", soft_wrap=whole)


NARROW_COMPARISON = ("experiment", "arm", "reached", "ratio", "goal", "bpb", "time", "verdict")


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str], *, close: bool = False
) -> "Table":
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=close)
    for name in header:
        table.add_column(name, justify="left" if name in left else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _print_json(data: Any) -> None:
    click.echo(json.dumps(finite(data), indent=2, sort_keys=True, allow_nan=False))


def lane_report(settings: Settings) -> Report:
    """What there is to report of an experiment now; first of its warnings, that its settings have moved since."""
    warehouse, store = opened(settings.locations.duckdb_path), Store(settings.locations)
    looks = read_looks(warehouse, settings.experiment)
    report = report_of(store, settings.experiment, warehouse.current_rows(settings.experiment), looks)
    try:
        current_experiment(store, settings)
    except SettingsError as behind:
        return replace(report, warnings=(str(behind), *report.warnings))
    except StorageError:
        # Of imported rows alone there are no settings.
        pass
    return report
