"""`laneb run`: the whole lane, headless."""

import shlex
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from laneb.corpus.state import outputs_of, text_of
from laneb.plan import planned_runs
from laneb.settings import Settings, SettingsError, find_knob, load_settings, validate_override
from laneb.training.launch import training_command
from laneb.training.trackers import OFF, check_trackers
from laneb_assets.views.lane_progress import LaneProgress
from laneb_assets.views.terminal import Terminal, describe


def run_command(
    profile: str | None, work_dir: str | None, knobs: Sequence[str], *, reset: bool, force: Sequence[str] = ()
) -> int:
    """Run the lane and show it; the exit code: 0 a verdict was reached, 1 something failed."""
    _stop_on_sigterm()
    settings = _settings(profile, work_dir, knobs, reset=reset)
    started = time.monotonic()
    _check_input(settings)
    # Dagster takes most of the start-up, so bad settings are said before it is imported.
    from laneb_assets.home import faults_explained, home_in_use
    from laneb_assets.instance import open_instance
    from laneb_assets.lane_run.steps import Outcome, Step
    from laneb_assets.lane_run.walk import make_work_dir, run_lane

    make_work_dir(settings)
    log_path = settings.locations.local_dir / "laneb_run.log"
    instance = open_instance()
    trained = 0
    lane = LaneProgress.of(settings)
    shown = Terminal(log_path, settings.locations.runs_dir, lane)
    with faults_explained(home_in_use()), shown as terminal, instance:
        terminal.console.print(f"[bold]Lane B[/bold]  {settings.experiment}  {settings.locations.work_dir}")
        for name in settings.ignored_variables:
            terminal.console.print(f"{name} is set and ignored: it decides nothing here.", style="dim")
        watch: list[Any] = []
        running: list[Step] = []

        def before(step: Step) -> None:
            running.append(step)
            if not watch:
                watch.append(terminal.watching(step.label if settings.engine.parallel_runs == 1 else step.asset))
                watch[-1].__enter__()

        def after(outcome: Outcome) -> None:
            nonlocal trained
            if outcome.step in running:
                running.remove(outcome.step)
            if watch and not running:
                watch.pop().__exit__(None, None, None)
            trained += int(outcome.numbers.get("runs_trained", 0))
            _show(terminal, outcome)

        def waiting(step: Step, sentence: str) -> None:
            terminal.line("…", step.label, 0, sentence, style="dim")

        try:
            outcomes = run_lane(settings, instance, before=before, after=after, waiting=waiting, force=force)
        except KeyboardInterrupt:
            while watch:
                watch.pop().__exit__(None, None, None)
            terminal.console.print("Stopped. What was trained is kept; laneb run goes on from its last checkpoint.")
            return 130
    if outcomes[-1].state == "failed":
        click.echo(f"laneb: {outcomes[-1].step.label} failed: {outcomes[-1].error}", err=True)
        click.echo(f"       the whole log: {log_path}", err=True)
        return 2 if outcomes[-1].bad_input else 1
    _close(settings, profile, trained, time.monotonic() - started)
    return 0


def _check_input(settings: Settings) -> None:
    """Say what can't work before anything is made: no text, or a horizon and batch that make no run."""
    text_of(settings.data, settings.training, outputs_of(settings.locations))
    planned_runs(settings)
    training_command(Path("spec.json"), settings.training)
    # A checkout's script has W&B of its own, in its own environment.
    its_own = settings.training.backend == "nanochat"
    names = [name for name in settings.engine.trackers if not (its_own and name == "wandb")]
    check_trackers(names, OFF if its_own else settings.training.wandb_run_base)


def _settings(profile: str | None, work_dir: str | None, knobs: Sequence[str], *, reset: bool) -> Settings:
    """The settings with `--set` and `--reset` applied; the lane keeps them when it runs."""
    settings = load_settings(profile, work_dir=work_dir, overrides={} if reset else None)
    if not knobs and not reset:
        return settings
    overrides = dict(settings.overrides)
    for text in knobs:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingsError([f"--set {text}: say KEY=VALUE, such as --set threshold_offset=0.03."])
        if (knob := find_knob(name)).key in settings.set_by_environment():
            raise SettingsError([f"--set {text}: the environment sets {knob.env}, which beats an override. Unset it."])
        key, parsed = validate_override(name, value)
        overrides[key] = parsed
    return load_settings(profile, work_dir=work_dir, overrides=overrides)


def _show(terminal: Terminal, outcome: Any) -> None:
    if outcome.state == "up to date":
        terminal.line("·", outcome.step.label, 0, "up to date", style="dim")
    elif outcome.state == "failed":
        terminal.line("✗", outcome.step.label, outcome.seconds, "failed", style="red")
    else:
        terminal.line("✓", outcome.step.label, outcome.seconds, describe(outcome.numbers))
        if outcome.damage:
            terminal.line("!", "", 0, f"made again: {outcome.damage}", style="yellow")
        for check in outcome.failed_checks:
            terminal.line("!", "", 0, check, style="yellow")


def _close(settings: Settings, profile: str | None, trained: int, seconds: float) -> None:
    from laneb_assets.commands.summary import print_summary

    print_summary(settings)
    word = f"trained {trained} {'run' if trained == 1 else 'runs'}" if trained else "nothing to train"
    click.echo(f"\n{word}, in {seconds:.0f} s")
    click.echo(f"work directory: {settings.locations.work_dir}")
    command = "laneb ui" if profile is None else f"laneb ui --profile {shlex.quote(profile)}"
    if settings.origins.get("places.work_dir") == "command line":
        # The UI has no such option.
        command = f"LANE_B_WORK_DIR={shlex.quote(str(settings.locations.work_dir))} {command}"
    elif profile is None:
        command = "make ui (or: laneb ui)"
    click.echo(f"see it in Dagster: {command}, then open http://127.0.0.1:3000")


def _stop_on_sigterm() -> None:
    """SIGTERM stops like Ctrl-C, so that a training child gets to write its checkpoint."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
