"""`laneb export`: a run's weights for nanochat."""

from pathlib import Path

import click

from laneb.settings import load_settings


def export_command(run: str, directory: str, tag: str, profile: str | None, work_dir: str | None) -> None:
    """Write `DIR/base_checkpoints/<tag>` from a run's kept weights, and say where."""
    run_dir = Path(run)
    if not run_dir.is_dir():
        runs_dir = load_settings(profile, work_dir=work_dir).locations.runs_dir
        run_dir = runs_dir / run
        if not run_dir.is_dir():
            known = (
                sorted(path.name for path in runs_dir.glob("d*_i*_s*") if path.is_dir()) if runs_dir.is_dir() else []
            )
            raise click.UsageError(
                f"{run}: no such run in {runs_dir}. There are {', '.join(known) if known else 'none yet'}"
            )
    from laneb.training.export import export_run

    folder = export_run(run_dir, Path(directory), tag)
    click.echo(f"{folder}: the weights of {run_dir.name}. nanochat loads them with --model-tag={folder.name}")
