"""`laneb summary`: the answer, from the DuckDB table and the experiment's records."""

import json

import click

from laneb.decision import summarize
from laneb.decision.report import ARM_COLUMNS, Report, report_of
from laneb.records.base import finite
from laneb.records.experiment import Experiment
from laneb.records.inference import Inference
from laneb.records.verdict import Summary
from laneb.settings import Settings, load_settings
from laneb.storage.store import Store
from laneb.storage.warehouse import Warehouse
from laneb_assets.terminal import console


def summary_command(profile: str | None, work_dir: str | None, *, as_json: bool) -> None:
    """Print the summary of an experiment."""
    settings = load_settings(profile, work_dir=work_dir)
    if as_json:
        report = _report(settings)
        data = report.model_dump(mode="json") if isinstance(report, Summary) else report.to_json_dict()
        click.echo(json.dumps(finite(data), indent=2, sort_keys=True, allow_nan=False))
    else:
        print_summary(settings)


def print_summary(settings: Settings) -> None:
    """The per-seed table, the verdict, the tally and the warnings, on one screen."""
    from rich.markup import escape
    from rich.table import Table

    report = _report(settings)
    if isinstance(report, Summary):
        _print_tally(report)
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ARM_COLUMNS:
        table.add_column(name, justify="left" if name in ("arm", "status") else "right")
    for row in report.arm_rows():
        table.add_row(*row)
    screen = console()
    screen.print()
    screen.print(table)
    screen.print()
    screen.print(report.ratio_line())
    screen.print(report.tally_line())
    colour = {"ACCEPT": "green", "REJECT": "red"}.get(report.verdict.decision, "yellow")
    screen.print(f"[bold {colour}]{escape(report.headline())}[/]")
    for reason in report.verdict.reasons[1:]:
        screen.print(f"  {escape(reason)}")
    for warning in report.warnings:
        screen.print(f"[yellow]![/] {escape(warning)}")


def _print_tally(summary: Summary) -> None:
    """What imported rows say by themselves: no run of theirs is here to judge."""
    for winner in summary.winners:
        click.echo(f"seed {winner.seed}: {winner.winner}")
    click.echo(f"recommended lane_b_decision: {summary.recommended_lane_b_decision}")


def _report(settings: Settings) -> Report | Summary:
    store = Store(settings.locations)
    rows = Warehouse(settings.locations.duckdb_path).current_rows(settings.experiment)
    if len(rows) and not store.has(Inference):
        return summarize(rows)
    return report_of(store, store.read(Experiment), rows)
