"""`laneb doctor`: what an experiment would do here, before it does it."""

import platform
import shutil
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from laneb.corpus.checkout import find_checkout
from laneb.corpus.state import outputs_of, text_of
from laneb.knobs import EngineKnobs
from laneb.plan import PlannedRun, planned_runs
from laneb.records.baseline import BaselineThreshold
from laneb.report.answer import duration
from laneb.settings import SECTIONS, Settings, all_knobs, load_settings
from laneb.storage.store import Store
from laneb.training import hardware
from laneb.training.estimate import estimate, estimated_for
from laneb.training.nanochat import nanochat_command
from laneb.training.spec import trained_with
from laneb_assets.commands.plan import show_plan
from laneb_assets.home import checkout_home, fault_on_disk, foreign, home_in_use
from laneb_assets.views.terminal import WIDE, console

PACKAGES = (
    "dagster", "dagster-webserver", "dagster-pandas", "torch", "numpy", "scipy", "optuna", "pandas", "duckdb",
)  # fmt: skip


def doctor_command(profile: str | None, work_dir: str | None) -> int:
    """Print settings, versions, device, corpus, disk and the planned runs; the exit code: 2 when something can't work.

    Raises:
        ValueError: settings, text or checkout can't be used.
    """
    settings = load_settings(profile, work_dir=work_dir)
    screen = console()
    _settings(screen, settings)
    _machine(screen, settings)
    fault = _history(screen)
    _corpus(screen, settings)
    if settings.training.backend == "nanochat":
        _checkout(screen, settings)
    _plan(screen, settings)
    _threshold(screen, settings)
    _outlook(screen, settings)
    return 2 if fault else 0


def _heading(screen: Console, text: str) -> None:
    screen.print(f"\n[bold]{text}[/bold]")


def _settings(screen: Console, settings: Settings) -> None:
    screen.print(f"[bold]Lane B[/bold]  {settings.experiment}  {escape(settings.description)}")
    known = vars(settings.locations).items()
    places = [(name, place) for name, place in known if name != "local_dir" and not isinstance(place, bool)]
    wide = screen.width >= WIDE
    for section in SECTIONS:
        _heading(screen, f"[{section.title}]".replace("[", r"\["))
        table = Table(box=None, show_header=False, pad_edge=False)
        for _ in range(4 if wide else 3):
            table.add_column(overflow="fold")
        if section.title == "places":
            for name, path in places:
                origin = settings.origins.get(f"places.{name}", "default")
                table.add_row(name, escape(str(path)), origin if wide else origin.partition(" ")[0])
        else:
            values = settings.section(section.title)
            for knob in (knob for knob in all_knobs() if knob.section == section.title):
                value = getattr(values, knob.name)
                shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
                origin = settings.origins[knob.key]
                # A narrow window has no room for the variables, which `laneb knobs` tells, nor for the profile's path.
                told = (origin, knob.env) if wide else (origin.partition(" ")[0],)
                table.add_row(knob.name, escape(shown), *told)
        screen.print(table)
    for name in settings.ignored_variables:
        screen.print(f"[yellow]![/] {name} is set and ignored: it decides nothing here.")


def _machine(screen: Console, settings: Settings) -> None:
    _heading(screen, "machine")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    screen.print(f"Python {platform.python_version()}, {versions}")
    device = hardware.resolve_device(settings.training.device)
    screen.print(f"device {device}, {hardware.usable_cores()} CPU core(s)")
    place = _existing(settings.locations.base_dir)
    usage = shutil.disk_usage(place)
    screen.print(f"disk at {place}: {usage.free / 2**30:.1f} GiB free of {usage.total / 2**30:.1f} GiB")


def _history(screen: Console) -> str:
    """Where Dagster keeps its history; gives what is wrong with that, if anything."""
    _heading(screen, "dagster")
    home = home_in_use()
    screen.print(escape(f"DAGSTER_HOME {home}{'' if home.exists() else ', made by the first run'}"))
    own = checkout_home()
    if own.is_dir() and home.resolve() != own.resolve():
        said = f"the environment's DAGSTER_HOME; dagster and dg in the checkout use {own} (.env): two histories."
        screen.print(f"[yellow]![/] {escape(said)}")
    fault = fault_on_disk(home)
    for note in filter(None, (foreign(home), fault)):
        screen.print(f"[yellow]![/] {escape(note)}")
    return fault


def _existing(place: Path) -> Path:
    return next(path for path in (place, *place.parents) if path.exists())


def _corpus(screen: Console, settings: Settings) -> None:
    _heading(screen, "corpus")
    data = settings.data
    corpus = text_of(data, settings.training, outputs_of(settings.locations))
    screen.print(
        f"{data.dataset_id or corpus.dataset_id}: {len(corpus.files):,} file(s), "
        f"{corpus.total_bytes / 1e6:.1f} MB read, vocabulary {data.vocab_size:,}"
    )


def _checkout(screen: Console, settings: Settings) -> None:
    """What the checkout's script is told, and what it does by itself."""
    _heading(screen, "checkout")
    training = settings.training
    checkout = find_checkout(training.nanochat_dir, training.nanochat_python)
    known = f"commit {checkout.commit}" if checkout.commit else f"code {checkout.code_fingerprint}"
    screen.print(escape(f"{checkout.directory}, {known}, run by {checkout.python}"))
    knobs = trained_with(settings.model, training, settings.origins)
    own = [f"{name}={value}" for name, value in knobs.own.items()]
    screen.print(escape(f"told: {', '.join((*knobs.told, *knobs.arguments)) or 'nothing but horizon and seed'}"))
    screen.print(escape(f"its own defaults: {', '.join(own) or 'none'}"))
    beside = [f"{name}={value}" for name, value in knobs.flags.items() if name not in knobs.unknown]
    if beside:
        screen.print(escape(f"without a knob here: {', '.join(beside)}"))
    if knobs.unknown:
        unknown = ", ".join(f"{name}={knobs.flags[name]}" for name in knobs.unknown)
        screen.print(f"[yellow]![/] never heard of, recorded with every run: {escape(unknown)}")


def _plan(screen: Console, settings: Settings) -> None:
    _heading(screen, "runs")
    table = Table(box=None, header_style="bold", pad_edge=False)
    # Steps times batch, which a narrow window has no room for.
    tokens = ("tokens",) if screen.width >= WIDE else ()
    for name in ("run", "seeds", "steps", "batch", *tokens, "ratio requested", "realised", "time each", "memory"):
        table.add_column(name, justify="left" if name in ("run", "seeds") else "right")
    plans = planned_runs(settings)
    total, node = 0.0, settings.engine if settings.engine.engine != "local" else None
    for plan in plans:
        seconds = _row(table, plan, node, tokens=bool(tokens))
        if plan.role != "fallback":
            total += seconds * (len(plan.seeds) - plan.shared)
    screen.print(table)
    if node is not None:
        screen.print(escape(f"Times and memory are those of {estimated_for(plans[0].spec, node)}."))
    screen.print(
        f"candidates follow the inference: 2 runs for each of {len(settings.candidates.run_seeds)} seed(s), or the "
        "fallback where it is not promotable. "
        f"Baselines and calibration: about {duration(total)} of training (an estimate)."
    )
    screen.print(_disk(settings, plans))
    if settings.training.backend == "nanochat":
        notes = [note for plan in plans for note in nanochat_command(plan.spec, model_tag="laneb").notes]
        for note in dict.fromkeys(notes):
            screen.print(f"[yellow]![/] {escape(note)}")


def _disk(settings: Settings, plans: list[PlannedRun]) -> str:
    """What the runs need of the disk: checkpoints while they train, and weights where those are kept."""
    cost = estimate(plans[0].spec)
    said = f"disk: {_size(2 * cost.checkpoint_bytes)} for the two checkpoints of each run that trains, none after it"
    if not settings.training.keep_model:
        return f"{said}."
    runs = sum(len(plan.seeds) - plan.shared for plan in plans if plan.role != "fallback")
    runs += 2 * len(settings.candidates.run_seeds)
    return f"{said}; {_size(runs * cost.weights_bytes)} for the weights of {runs} runs (LANE_B_KEEP_MODEL=1)."


def _size(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _row(table: Table, plan: PlannedRun, node: EngineKnobs | None, *, tokens: bool) -> float:
    cost = estimate(plan.spec, node)
    spec = plan.spec
    shared = f" ({plan.shared} shared)" if plan.shared else ""
    table.add_row(
        plan.role,
        ",".join(map(str, plan.seeds)) + shared,
        f"{spec.steps:,}",
        f"{spec.total_batch_size:,}",
        *([f"{spec.steps * spec.total_batch_size:,}"] if tokens else []),
        "-" if plan.requested_ratio is None else f"{plan.requested_ratio:.4g}",
        f"{spec.realised_ratio:.4g}",
        duration(cost.seconds),
        f"{cost.memory_bytes / 2**20:,.0f} MiB",
    )
    return float(cost.seconds)


def _threshold(screen: Console, settings: Settings) -> None:
    from laneb.decision.threshold import target_threshold

    store, explicit = Store(settings.locations), settings.threshold.target_threshold
    if explicit is not None and store.has(BaselineThreshold):
        _, warning = target_threshold(store.read(BaselineThreshold), explicit)
        if warning:
            screen.print(f"[yellow]![/] {escape(warning)}")


def _outlook(screen: Console, settings: Settings) -> None:
    """What the design can find out, and why it perhaps can't."""
    from laneb.planning import plan_of, runs_of

    _heading(screen, "outlook")
    show_plan(screen, plan_of(settings, runs_of(Store(settings.locations), settings), neighbours=False))
