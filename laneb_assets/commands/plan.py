"""`laneb plan` and `laneb simulate`: what a design can find out, before and after it is trained."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from laneb.records.plan import Plan
from laneb.report.answer import duration
from laneb.report.plan import assumptions, next_sentence, plan_columns, plan_rows
from laneb.settings import SettingsError, find_knob, load_settings, validate_override
from laneb.storage.atomic import write_text
from laneb.storage.overrides import write_overrides
from laneb.storage.store import Store
from laneb.training.surface import Surface, surface_toml
from laneb_assets.views.terminal import console

if TYPE_CHECKING:
    from laneb.planning import Outcomes


def plan_command(profile: str | None, work_dir: str | None, *, as_json: bool, set_next: bool) -> None:
    """Print the plan of an experiment; with `set_next`, keep its next step as an override."""
    from laneb.planning import plan_of, runs_of

    settings = load_settings(profile, work_dir=work_dir)
    plan = plan_of(settings, runs_of(Store(settings.locations), settings))
    if set_next:
        _set_next(profile, work_dir, plan)
    if as_json:
        click.echo(plan.to_json(), nl=False)
    else:
        show_plan(console(), plan)
        if set_next and plan.next_step:
            click.echo(f"kept as an override: {plan.next_step.key}={_listed(plan.next_step.value)}. Now: laneb run")


def _set_next(profile: str | None, work_dir: str | None, plan: Plan) -> None:
    step, settings = plan.next_step, load_settings(profile, work_dir=work_dir)
    if step is None:
        raise SettingsError(
            [
                "there is no next step: it takes calibration runs, and one seed or horizon more that narrows the "
                "interval. Calibrate first: laneb run"
            ]
        )
    if step.key in settings.set_by_environment():
        raise SettingsError([f"{step.key}: the environment sets {find_knob(step.key).env}, which beats an override."])
    key, value = validate_override(step.key, _listed(step.value))
    overrides = {**settings.overrides, key: value}
    load_settings(profile, work_dir=work_dir, overrides=overrides)
    write_overrides(settings.locations, overrides)


def show_plan(screen: Console, plan: Plan) -> None:
    """The plan as a table, what is wrong with the design, and the next step."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for name in plan_columns(plan):
        table.add_column(name, justify="left" if name == "design" else "right", no_wrap=True)
    for row in plan_rows(plan):
        table.add_row(*row)
    screen.print(table)
    screen.print(f"{escape(assumptions(plan))}.")
    for problem in plan.problems:
        screen.print(f"[yellow]![/] {escape(problem)}")
    if plan.next_step:
        screen.print(f"next: {escape(next_sentence(plan.next_step))}")


def simulate_command(
    profile: str | None, work_dir: str | None, *, lanes: int, gain: float | None, looks: str, as_json: bool, like: str
) -> None:
    """Play out lanes of the experiment's design and print what became of them; or, with `like`, only write down the
    loss surface of its finished runs."""
    from laneb.planning import Design, runs_of, simulate_lanes, surface_like

    settings = load_settings(profile, work_dir=work_dir)
    assumed = Design.of(settings)
    own = surface_like(runs_of(Store(settings.locations), settings), assumed.surface)
    if like:
        _write_surface(like, own)
        return
    design = assumed if own is None else replace(assumed, surface=own)
    outcomes = simulate_lanes(design, lanes=lanes, gain=gain, looks=_looks(looks))
    if as_json:
        click.echo(json.dumps(asdict(outcomes), indent=2, sort_keys=True))
        return
    source = "assumed" if own is None else "as this experiment's runs are"
    show_outcomes(console(), outcomes, source)


def show_outcomes(screen: Console, outcomes: "Outcomes", source: str) -> None:
    """What became of simulated lanes, a line each."""
    sure = 2 * math.sqrt(0.25 / outcomes.lanes)
    lines = [
        f"{outcomes.lanes} lanes, losses and spreads {source}; shares are sure to within {sure:.0%} (95 %)",
        f"true gain of the confirmation {outcomes.true_gain:.1%} of the baseline's time to the threshold",
        f"verdict: {_shares(outcomes.decisions)}",
        f"at any look: {_shares(outcomes.ever)}",
        f"accepted at the last look: {_shares(outcomes.modes)}",
        "the ratio: no lane has an interval"
        if outcomes.coverage is None or outcomes.half_width is None
        else f"the ratio's 95 % interval: +-{outcomes.half_width:.1%} (median), holds the true ratio in "
        f"{outcomes.coverage:.1%} of the lanes",
        f"training: {duration(outcomes.train_sec)} a lane",
    ]
    for line in lines:
        screen.print(escape(line), highlight=False)


def _write_surface(path: str, surface: Surface | None) -> None:
    if surface is None:
        raise SettingsError(
            ["there is no surface to write: it takes this experiment's finished runs at three horizons. laneb run"]
        )
    write_text(Path(path).expanduser().resolve(), surface_toml(surface))
    click.echo(f"{path}: LANE_B_BACKEND=simulated LANE_B_SIMULATED_SURFACE={path} draws runs like this experiment's")


def _looks(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() for part in parts):
        raise SettingsError([f"--looks {text}: numbers of seeds separated by commas, such as 3,4,5."])
    return tuple(map(int, parts))


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items())


def _listed(values: tuple[int, ...]) -> str:
    return ",".join(map(str, values))
