"""`laneb summary`: the answer, from the DuckDB table and the experiment's records."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from laneb.decision import summarize
from laneb.decision.comparison import COMPARISON_COLUMNS, comparison_rows
from laneb.decision.report import ARM_COLUMNS, Report, report_of
from laneb.records.base import finite
from laneb.records.experiment import Experiment
from laneb.records.inference import Inference
from laneb.records.verdict import Summary
from laneb.settings import Settings, load_settings
from laneb.storage.looks import read_looks
from laneb.storage.store import Store
from laneb.storage.warehouse import Warehouse
from laneb_assets.views.terminal import console

if TYPE_CHECKING:
    from rich.table import Table


def summary_command(profile: str | None, work_dir: str | None, *, as_json: bool) -> None:
    """Print the summary of an experiment."""
    settings = load_settings(profile, work_dir=work_dir)
    if as_json:
        report = _report(settings)
        data = report.model_dump(mode="json") if isinstance(report, Summary) else report.to_json_dict()
        _print_json(data)
    else:
        print_summary(settings)


def experiments_command(profile: str | None, work_dir: str | None, *, as_json: bool) -> None:
    """Print every experiment of the DuckDB file, arm by arm."""
    settings = load_settings(profile, work_dir=work_dir)
    path = settings.locations.duckdb_path
    arms = Warehouse(path).arms()
    if as_json:
        _print_json({"duckdb_path": str(path), "arms": arms.to_dict("records")})
    elif arms.empty:
        click.echo(f"{path} has no rows of a candidate that ran well: materialize inference_schema (or run: laneb run)")
    else:
        console().print(_table(COMPARISON_COLUMNS, comparison_rows(arms), left=("experiment", "arm")))


def print_summary(settings: Settings) -> None:
    """The per-seed table, the verdict, the tally and the warnings, on one screen."""
    from rich.markup import escape

    report = _report(settings)
    if isinstance(report, Summary):
        _print_tally(report)
        return
    screen = console()
    screen.print()
    screen.print(_table(ARM_COLUMNS, report.arm_rows(), left=("arm", "status")))
    screen.print()
    screen.print(report.ratio_line())
    screen.print(report.tally_line())
    colour = {"ACCEPT": "green", "REJECT": "red"}.get(report.verdict.decision, "yellow")
    screen.print(f"[bold {colour}]{escape(report.headline())}[/]")
    for reason in report.verdict.reasons[1:]:
        screen.print(f"  {escape(reason)}")
    for warning in report.warnings:
        screen.print(f"[yellow]![/] {escape(warning)}")


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str]) -> "Table":
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in header:
        table.add_column(name, justify="left" if name in left else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _print_json(data: Any) -> None:
    click.echo(json.dumps(finite(data), indent=2, sort_keys=True, allow_nan=False))


def _print_tally(summary: Summary) -> None:
    """What imported rows say by themselves: no run of theirs is here to judge."""
    for winner in summary.winners:
        click.echo(f"seed {winner.seed}: {winner.winner}")
    click.echo(f"recommended lane_b_decision: {summary.recommended_lane_b_decision}")


def _report(settings: Settings) -> Report | Summary:
    store = Store(settings.locations)
    warehouse = Warehouse(settings.locations.duckdb_path)
    rows = warehouse.current_rows(settings.experiment)
    if len(rows) and not store.has(Inference):
        return summarize(rows)
    return report_of(store, store.read(Experiment), rows, read_looks(warehouse, settings.experiment))
