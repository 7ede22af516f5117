"""`laneb import`: baseline results made elsewhere."""

from collections.abc import Sequence

import click

from laneb.places import reach
from laneb.settings import SettingsError, load_settings
from laneb.storage.overrides import refuse_foreign_work_dir, write_overrides
from laneb.training.imports import check_results_directory, results_place


def import_command(given: str, profile: str | None, work_dir: str | None) -> None:
    """Check a results directory (or a CSV's) and take it as this experiment's baselines; it is never written to."""
    settings = load_settings(profile, work_dir=work_dir)
    refuse_foreign_work_dir(settings.experiment, settings.locations)
    own = {"baseline.source", "places.baseline_results_dir", "places.baseline_results_csv"}
    if hidden := sorted(own & settings.set_by_environment()):
        raise SettingsError([f"{key}: the environment sets it, which beats an import. Unset it." for key in hidden])
    directory, csv_path = results_place(reach(given))
    found = check_results_directory(directory, settings.baseline.seeds, csv_path=csv_path)
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    overrides = {
        **settings.overrides,
        "baseline.source": "directory",
        "places.baseline_results_dir": str(directory),
    }
    overrides.pop("places.baseline_results_csv", None)
    if csv_path.name != "results.csv":
        overrides["places.baseline_results_csv"] = str(csv_path)
    load_settings(profile, work_dir=work_dir, overrides=overrides)
    write_overrides(settings.locations, overrides)
    click.echo(f"baselines of experiment {settings.experiment} are now those of {csv_path}")
    for said, seeds in _seeds(settings.baseline.seeds, [run.seed for run in found.runs]):
        click.echo(f"{said}: seeds {', '.join(map(str, seeds))}")
    click.echo("next: laneb run (trains no baseline; laneb run --reset goes back to training them)")


def _seeds(required: Sequence[int], with_curve: Sequence[int]) -> list[tuple[str, list[int]]]:
    """Required seeds by what they count for."""
    alone = [seed for seed in required if seed not in with_curve]
    counted = [("with their curves", list(with_curve)), ("for the threshold alone, for want of a log", alone)]
    return [(said, seeds) for said, seeds in counted if seeds]
