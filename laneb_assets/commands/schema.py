"""`laneb schema import` and `laneb schema export`."""

from pathlib import Path

import click

from laneb.brought import SPECIAL, is_special
from laneb.settings import load_settings
from laneb.storage.atomic import StorageError, write_text
from laneb.storage.schema_table import parse_schema_csv, render_schema_csv
from laneb.storage.tables import decode_table
from laneb_assets.views.terminal import opened


def import_command(file: str, profile: str | None, work_dir: str | None) -> None:
    """Take a CSV's rows into the table."""
    settings = load_settings(profile, work_dir=work_dir)
    if is_special(Path(file)):
        raise StorageError(f"{file} can't be read: {SPECIAL}.")
    try:
        content = Path(file).read_bytes()
    except FileNotFoundError:
        raise StorageError(f"{file}: no such file.") from None
    except OSError as error:
        raise StorageError(f"{file} can't be read: {error.strerror or error}.") from None
    rows = parse_schema_csv(decode_table(content, file), file)
    warehouse = opened(settings.locations.duckdb_path)
    written = warehouse.import_rows(settings.experiment, rows, skip_existing=settings.candidates.skip_existing)
    click.echo(f"{len(rows)} row(s) read, {written} written to {warehouse.path} as experiment {settings.experiment}")


def export_command(file: str, profile: str | None, work_dir: str | None, *, every: bool) -> None:
    """Write the experiment's rows as CSV."""
    settings = load_settings(profile, work_dir=work_dir)
    texts = opened(settings.locations.duckdb_path).csv_texts(settings.experiment, every=every)
    text = render_schema_csv(texts)
    if file == "-":
        click.get_binary_stream("stdout").write(text.encode())
        return
    write_text(Path(file).absolute(), text)
    click.echo(f"{len(texts)} row(s) of experiment {settings.experiment} written to {file}")
