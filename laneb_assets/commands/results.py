"""`laneb import`: baseline results made elsewhere."""

from pathlib import Path

import click

from laneb.settings import SettingsError, load_settings
from laneb.storage.overrides import refuse_foreign_work_dir, write_overrides
from laneb.training.imports import check_results_directory


def import_command(directory: str, profile: str | None, work_dir: str | None) -> None:
    """Check a results directory, and take it as this experiment's baselines from now on; it is never written to."""
    settings = load_settings(profile, work_dir=work_dir)
    refuse_foreign_work_dir(settings.experiment, settings.locations)
    own = {"baseline.source", "places.baseline_results_dir", "places.baseline_results_csv"}
    if hidden := sorted(own & settings.set_by_environment()):
        raise SettingsError([f"{key}: the environment sets it, which beats an import. Unset it." for key in hidden])
    found = check_results_directory(Path(directory).absolute(), settings.baseline.seeds)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    overrides = {
        **settings.overrides,
        "baseline.source": "directory",
        "places.baseline_results_dir": str(Path(directory).absolute()),
    }
    load_settings(profile, work_dir=work_dir, overrides=overrides)
    write_overrides(settings.locations, overrides)
    seeds = ", ".join(str(run.seed) for run in found.runs)
    click.echo(f"baselines of experiment {settings.experiment} are now those of {directory} (seeds {seeds})")
    click.echo("next: laneb run (trains no baseline; laneb run --reset goes back to training them)")
