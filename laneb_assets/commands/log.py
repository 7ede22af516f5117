"""`laneb log`: training logs read back."""

import json
from collections.abc import Sequence

import click

from laneb.training.log import LogError, NoLogError, TrainingLog, parse_logs
from laneb_assets.views.terminal import WIDE, console


def log_command(files: Sequence[str], *, as_json: bool, threshold: float | None) -> int:
    """Read logs and print their runs as a table or as JSON.

    Returns:
        The exit status: 1 when a file is no log, 2 when one can't be read.
    """
    logs: list[TrainingLog] = []
    status = 0
    for file in files:
        try:
            logs += parse_logs(file, threshold=threshold)
        except LogError as error:
            click.echo(f"laneb: {error}", err=True)
            status = max(status, 1 if isinstance(error, NoLogError) else 2)
    if as_json:
        click.echo(json.dumps([log.to_json_dict() for log in logs], indent=2, sort_keys=True, allow_nan=False))
        return status
    if logs:
        _print_table(logs)
    for log in logs:
        for warning in log.warnings:
            click.echo(f"warning: {_place(log)}: {warning}", err=True)
    return status


def _place(log: TrainingLog) -> str:
    return log.path if log.runs == 1 else f"{log.path} run {log.run}"


def _print_table(logs: Sequence[TrainingLog]) -> None:
    from rich.table import Table

    several = any(log.runs > 1 for log in logs)
    screen = console()
    narrow = screen.width < WIDE
    table = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=narrow)
    headers = ["log", "seed", "status", "steps", "ratio", "min bpb", "final bpb", "to target", "extrapolated", "tok/s"]
    headers[1:1] = ["run"] if several else []
    # A narrow window has room for what an answer is taken from.
    left_out = {"final bpb", "extrapolated"} if narrow else set[str]()
    for header in headers:
        if header not in left_out:
            left = header in ("log", "status")
            table.add_column(header, justify="left" if left else "right", overflow="fold", no_wrap=header != "log")
    for log in logs:
        row = log.to_json_dict()
        measured = row["time_to_target_sec_interpolated"] or row["time_to_target_sec_measured"]
        cells = [
            str(row["path"]).rsplit("/", 1)[-1],
            *([f"{log.run} of {log.runs}"] if several else []),
            _text(row["seed"]),
            str(row["status"]),
            _text(row["realised_steps"]),
            _text(row["realised_ratio"], ".4g"),
            _text(row["min_val_bpb"], ".6f"),
            _text(row["final_val_bpb"], ".6f"),
            _text(measured, ".1f", " s"),
            _text(row["time_to_target_sec_extrapolated"], ".1f", " s"),
            _text(row["tok_per_sec_median"], ",.0f"),
        ]
        table.add_row(*(cell for header, cell in zip(headers, cells, strict=True) if header not in left_out))
    screen.print(table)


def _text(value: object, form: str = "", unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"
