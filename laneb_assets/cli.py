"""The console script. Each verb imports what it needs when it runs, so that `laneb --help` is quick."""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from laneb.brought import shortened

PROFILE = click.option("--profile", metavar="NAME", help="A profile's name, or a path to a TOML file.")
WORK_DIR = click.option("--work-dir", metavar="DIR", help="Work directory W, instead of <base>/laneb/<experiment>.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="laneb")
def cli() -> None:
    """Lane B: how long to pretrain a nanochat-style GPT, answered from data."""


@cli.command()
@PROFILE
@WORK_DIR
@click.option("--set", "knobs", metavar="KEY=VALUE", multiple=True, help="Override one knob for this experiment.")
@click.option("--reset", is_flag=True, help="Drop the overrides that were kept.")
@click.option(
    "--force", metavar="[ASSET[:PARTITION]]", multiple=True, is_flag=False, flag_value="",
    help="Make it again though it is up to date; a finished run is trained again. Without a value: every run.",
)  # fmt: skip
def run(profile: str | None, work_dir: str | None, knobs: Sequence[str], reset: bool, force: Sequence[str]) -> None:
    """Materialize the whole graph, but for what is up to date."""
    from laneb_assets.commands.run import run_command

    sys.exit(run_command(profile, work_dir, knobs, reset=reset, force=force))


@cli.command()
@PROFILE
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port on loopback.")
@click.option("--allow-host", "hosts", metavar="NAME", multiple=True, help="A proxy's host name, to be let in too.")
def ui(profile: str | None, port: int, hosts: Sequence[str]) -> None:
    """Serve Dagster's UI and its daemon on the same instance. On loopback; pages of other sites are refused."""
    from laneb_assets.commands.ui import ui_command

    sys.exit(ui_command(profile, port, hosts))


@cli.command()
@PROFILE
@WORK_DIR
def doctor(profile: str | None, work_dir: str | None) -> None:
    """Show every setting with its origin, and every planned run. Versions, device, corpus and disk too."""
    from laneb_assets.commands.doctor import doctor_command

    sys.exit(doctor_command(profile, work_dir))


@cli.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.option("--threshold", type=float, help="Find the crossing of this bpb from the curve.")
def log(files: Sequence[str], as_json: bool, threshold: float | None) -> None:
    """Read training logs, ours or nanochat's, packed or not. A file that is none is named, with exit status 1."""
    from laneb_assets.commands.log import log_command

    sys.exit(log_command(files, as_json=as_json, threshold=threshold))


@cli.command(name="import")
@click.argument("directory", metavar="DIR|CSV")
@PROFILE
@WORK_DIR
def import_(directory: str, profile: str | None, work_dir: str | None) -> None:
    """Take results made elsewhere as this experiment's baselines. A folder of results.csv and its logs, or the CSV."""
    from laneb_assets.commands.results import import_command

    import_command(directory, profile, work_dir)


@cli.group()
def schema() -> None:
    """The 21-column CSV into and out of the DuckDB table."""


@schema.command(name="import")
@click.argument("file", metavar="FILE")
@PROFILE
@WORK_DIR
def schema_import(file: str, profile: str | None, work_dir: str | None) -> None:
    """Take the rows of a CSV as rows of this experiment."""
    from laneb_assets.commands.schema import import_command

    import_command(file, profile, work_dir)


@schema.command(name="export")
@click.argument("file", metavar="FILE")
@click.option("--all", "every", is_flag=True, help="Every row, of earlier campaigns too.")
@PROFILE
@WORK_DIR
def schema_export(file: str, every: bool, profile: str | None, work_dir: str | None) -> None:
    """Write this experiment's current rows to a CSV. "-" is standard output."""
    from laneb_assets.commands.schema import export_command

    export_command(file, profile, work_dir, every=every)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--all", "every", is_flag=True, help="All experiments in the DuckDB file side by side.")
@PROFILE
@WORK_DIR
def summary(as_json: bool, every: bool, profile: str | None, work_dir: str | None) -> None:
    """The summary from the DuckDB table, and the verdict."""
    from laneb_assets.commands.summary import experiments_command, summary_command

    command = experiments_command if every else summary_command
    command(profile, work_dir, as_json=as_json)


@cli.command()
@click.argument("run", metavar="RUN")
@click.argument("directory", metavar="DIR")
@click.option("--tag", default="", metavar="NAME", help="nanochat's model tag; by default d<depth>.")
@PROFILE
@WORK_DIR
def export(run: str, directory: str, tag: str, profile: str | None, work_dir: str | None) -> None:
    """Write a run's final weights as a checkpoint for nanochat.

    RUN is the run's name, such as d12_i2520_s41, or its directory; it was trained with LANE_B_KEEP_MODEL=1. DIR is what
    NANOCHAT_BASE_DIR names.
    """
    from laneb_assets.commands.export import export_command

    export_command(run, directory, tag, profile, work_dir)


@cli.command()
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@PROFILE
@WORK_DIR
def report(show: bool, profile: str | None, work_dir: str | None) -> None:
    """Write the report, one page that can be sent; print its path. Of what there is now, finished or not."""
    from laneb_assets.commands.report import report_command

    report_command(profile, work_dir, show=show)


@cli.command()
@click.option("--once", is_flag=True, help="Print the runs as they are and return.")
@PROFILE
@WORK_DIR
def watch(once: bool, profile: str | None, work_dir: str | None) -> None:
    """Follow all runs of the lane as they train, wherever they run."""
    from laneb_assets.commands.watch import watch_command

    watch_command(profile, work_dir, once=once)


@cli.command()
def profiles() -> None:
    """List the profiles that come with Lane B."""
    from laneb_assets.commands.knobs import profiles_command

    profiles_command()


@cli.command()
@click.argument("word", required=False, default="")
def knobs(word: str) -> None:
    """List the knobs that WORD finds, or all of them. It is looked for in names, variables and meanings."""
    from laneb_assets.commands.knobs import knobs_command

    sys.exit(knobs_command(word))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--set-next", is_flag=True, help="Keep the next step as an override of this experiment.")
@PROFILE
@WORK_DIR
def plan(as_json: bool, set_next: bool, profile: str | None, work_dir: str | None) -> None:
    """What the design can find out, and at what cost. After calibration, the next run worth its time too."""
    from laneb_assets.commands.plan import plan_command

    plan_command(profile, work_dir, as_json=as_json, set_next=set_next)


@cli.command()
@click.option("--lanes", default=200, show_default=True, type=click.IntRange(1), help="How many lanes to play.")
@click.option("--gain", type=float, help="True gain of the confirmation, such as 0.05; without: as the surface has it.")
@click.option("--looks", default="", help="Seeds at each look, such as 3,4,5; without: one look at the design's seeds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--like", metavar="FILE", default="", help="Only write the loss surface of this lane's runs, as TOML.")
@PROFILE
@WORK_DIR
def simulate(
    lanes: int, gain: float | None, looks: str, as_json: bool, like: str, profile: str | None, work_dir: str | None
) -> None:
    """Play whole lanes of known truth. How often they are accepted, what their intervals cover, what they cost."""
    from laneb_assets.commands.plan import simulate_command

    simulate_command(profile, work_dir, lanes=lanes, gain=gain, looks=looks, as_json=as_json, like=like)


def main(arguments: Any = None) -> None:
    """Run the command line: errors are one or two lines on stderr, exit 2 for bad settings or input."""
    _open_what_is_closed()
    try:
        cli.main(arguments, prog_name="laneb", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        _end(f"laneb: {error.format_message()}", 2)
    except (click.Abort, KeyboardInterrupt):
        _end("laneb: stopped.", 130)
    except BrokenPipeError:
        _end("", 0)  # whoever read it has seen enough
    except ValueError as error:
        _end(f"laneb: {error}", 2)
    except OSError as error:
        _end(f"laneb: {shortened(str(error.filename or 'standard output'))}: {error.strerror or error}.", 1)
    except MemoryError:
        _end("laneb: out of memory: this machine can't hold what was asked for.", 1)


def _open_what_is_closed() -> None:
    """Give a process whose standard streams were closed (`>&-`) streams that lead nowhere.

    Otherwise the next file that it opens, a database even, would get their numbers, and what is printed.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _end(said: str, status: int) -> None:
    """Say one thing and end, whatever of the standard streams can still be written."""
    with contextlib.suppress(OSError, ValueError):
        if said:
            click.echo(said, err=True)
    # What is left in its buffer has nowhere to go, and Python would say so once more at its end.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        with contextlib.suppress(OSError):
            os.fstat(number)
            os.dup2(nowhere, number)
    sys.exit(status)


if __name__ == "__main__":
    main()
