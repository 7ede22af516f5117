"""Dagster's web server behind the guard: `python -m laneb_assets.web.server`, with the options of dagster-webserver."""

import contextlib
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from dagster_webserver import cli

from laneb.settings import EXPERIMENT_NAMES, Settings, SettingsError, load_settings
from laneb_assets.names import UI_HOSTS
from laneb_assets.web.guard import Guard


def report_of(settings: Settings, experiment: str) -> Path | None:
    """The report of the experiment that settings are for, or of another one with the default places beside it."""
    own = settings.locations.report_html
    if experiment == settings.experiment:
        return own if isinstance(own, Path) else None
    named = re.fullmatch(EXPERIMENT_NAMES, experiment)
    return settings.locations.base_dir / "laneb" / experiment / own.name if named else None


def main() -> None:
    """Serve until told to stop."""
    hosts = [host for host in os.environ.get(UI_HOSTS, "").split(",") if host]
    files: Callable[[str], Path | None] = {}.get
    # Whoever opens a page is told what is wrong with the settings; only the reports' places are not known.
    with contextlib.suppress(SettingsError):
        files = partial(report_of, load_settings())
    make = cli.create_app_from_workspace_process_context

    def guarded(*given: Any, **named: Any) -> Any:
        return Guard(make(*given, **named), hosts, files)

    # dagster-webserver has no option for a layer; this is the one call by which it makes what it serves.
    cli.create_app_from_workspace_process_context = guarded
    cli.main()


if __name__ == "__main__":
    main()
