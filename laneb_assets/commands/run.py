"""`laneb run`: the whole lane, headless."""

import contextlib
import shlex
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from laneb.corpus.state import outputs_of, text_of
from laneb.plan import planned_runs
from laneb.settings import Settings, SettingsError, find_knob, load_settings, validate_override
from laneb.storage.work_dir import make_work_dir
from laneb.training.launch import training_command
from laneb.training.trackers import OFF, check_trackers
from laneb_assets.views.lane_progress import LaneProgress
from laneb_assets.views.terminal import Terminal, describe

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from laneb_assets.lane_run.steps import Outcome


def run_command(
    profile: str | None, work_dir: str | None, knobs: Sequence[str], *, reset: bool, force: Sequence[str] = ()
) -> int:
    """Run the lane and show it; the exit code: 0 a verdict was reached, 1 something failed."""
    _stop_on_sigterm()
    settings = _settings(profile, work_dir, knobs, reset=reset)
    started = time.monotonic()
    _check_input(settings)
    make_work_dir(settings)
    # Dagster takes most of the start-up, so bad settings are said before it is imported.
    from laneb_assets.home import InstanceError, faults_explained, home_in_use
    from laneb_assets.instance import open_instance

    instance = open_instance()
    log_path = settings.locations.local_dir / "laneb_run.log"
    try:
        with faults_explained(home_in_use()), instance:
            walked = _walk(settings, instance, log_path, force)
    except InstanceError as error:
        click.echo(f"laneb: {error}", err=True)
        return 1
    if walked.stopped:
        return 130
    if (last := walked.outcomes[-1]).state == "failed":
        click.echo(f"laneb: {last.step.label} failed: {last.error}", err=True)
        click.echo(f"       the whole log: {log_path}", err=True)
        return 2 if last.bad_input else 1
    _close(settings, profile, walked, time.monotonic() - started)
    return 0


@dataclass(frozen=True)
class _Walked:
    """How the walk over a lane went, as far as it came."""

    outcomes: Sequence["Outcome"]
    stopped: bool = False

    @property
    def trained(self) -> int:
        """How many runs were trained."""
        return sum(int(outcome.numbers.get("runs_trained", 0)) for outcome in self.outcomes)

    @property
    def said(self) -> set[str]:
        """What the steps' checks said."""
        return {check.partition(": ")[2] for outcome in self.outcomes for check in outcome.failed_checks}


def _walk(settings: Settings, instance: "DagsterInstance", log_path: Path, force: Sequence[str]) -> _Walked:
    """Run the lane, with a line for each step."""
    from laneb_assets.lane_run.steps import Outcome, Step
    from laneb_assets.lane_run.walk import run_lane

    lane = LaneProgress.of(settings)
    with Terminal(log_path, settings.locations.runs_dir, lane) as terminal:
        terminal.console.print(f"[bold]Lane B[/bold]  {settings.experiment}  {settings.locations.work_dir}")
        for name in settings.ignored_variables:
            terminal.console.print(f"{name} is set and ignored: it decides nothing here.", style="dim")
        running: list[Step] = []
        watching = contextlib.ExitStack()

        def before(step: Step) -> None:
            if not running:
                label = step.label if settings.engine.parallel_runs == 1 else step.asset
                watching.enter_context(terminal.watching(label))
            running.append(step)

        def after(outcome: Outcome) -> None:
            if outcome.step in running:
                running.remove(outcome.step)
            if not running:
                watching.close()
            _show(terminal, outcome)

        def waiting(step: Step, sentence: str) -> None:
            terminal.line("…", step.label, 0, sentence, style="dim")

        try:
            with watching:
                outcomes = run_lane(settings, instance, before=before, after=after, waiting=waiting, force=force)
        except KeyboardInterrupt:
            terminal.console.print("Stopped. What was trained is kept; laneb run goes on from its last checkpoint.")
            return _Walked((), stopped=True)
    return _Walked(outcomes)


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


def _close(settings: Settings, profile: str | None, walked: _Walked, seconds: float) -> None:
    from laneb_assets.commands.summary import print_summary

    print_summary(settings, walked.said)
    trained = walked.trained
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
