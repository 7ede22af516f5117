"""`laneb log`: training logs read back."""

import json
from collections.abc import Sequence

import click

from laneb.training.log import TrainingLog, parse_log
from laneb_assets.terminal import console


def log_command(files: Sequence[str], *, as_json: bool, threshold: float | None) -> None:
    """Read logs and print them as a table or as JSON."""
    logs = [parse_log(file, threshold=threshold) for file in files]
    if as_json:
        click.echo(json.dumps([log.to_json_dict() for log in logs], indent=2, sort_keys=True, allow_nan=False))
        return
    _print_table(logs)


def _print_table(logs: Sequence[TrainingLog]) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    headers = ["log", "seed", "status", "steps", "ratio", "min bpb", "final bpb", "to target", "extrapolated", "tok/s"]
    for header in headers:
        table.add_column(header, justify="left" if header in ("log", "status") else "right", overflow="fold")
    for log in logs:
        row = log.to_json_dict()
        measured = row["time_to_target_sec_interpolated"] or row["time_to_target_sec_measured"]
        table.add_row(
            str(row["path"]).rsplit("/", 1)[-1],
            _text(row["seed"]),
            str(row["status"]),
            _text(row["realised_steps"]),
            _text(row["realised_ratio"], ".4g"),
            _text(row["min_val_bpb"], ".6f"),
            _text(row["final_val_bpb"], ".6f"),
            _text(measured, ".1f", " s"),
            _text(row["time_to_target_sec_extrapolated"], ".1f", " s"),
            _text(row["tok_per_sec_median"], ",.0f"),
        )
    console().print(table)


def _text(value: object, form: str = "", unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"
