"""`laneb report`: the page to send, made of what there is now."""

import webbrowser
from pathlib import Path

import click

from laneb.planning import plan_of, runs_of
from laneb.report.comparison import side_by_side
from laneb.settings import load_settings
from laneb.storage.atomic import write_text
from laneb.storage.store import Store
from laneb_assets.commands.summary import lane_report
from laneb_assets.views.page import report_page
from laneb_assets.views.terminal import opened


def report_command(profile: str | None, work_dir: str | None, *, show: bool) -> None:
    """Write report.html and say where it lies; `show` opens it in the browser too."""
    settings = load_settings(profile, work_dir=work_dir)
    report = lane_report(settings)
    page = settings.locations.report_html
    others = side_by_side(opened(settings.locations.duckdb_path), settings.experiment, settings.locations)
    store = Store(settings.locations)
    plan = plan_of(settings, runs_of(store, settings), neighbours=False)
    write_text(page, report_page(report, store, others, plan))
    click.echo(str(page))
    if show and not (isinstance(page, Path) and webbrowser.open(page.as_uri())):
        click.echo("laneb: no browser could be started here: open that file by hand.", err=True)
