"""The overrides kept with an experiment: single knobs set in the launchpad or with `laneb run --set`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from laneb.knobs import EXPERIMENT_SECTIONS
from laneb.places import Locations
from laneb.records.experiment import Experiment
from laneb.settings import (
    PARTITION_KNOBS,
    Knob,
    Settings,
    SettingsError,
    all_knobs,
    find_knob,
    launchpad_may_set,
    load_settings,
    read_overrides,
    validate_override,
)
from laneb.storage.atomic import write_text

if TYPE_CHECKING:
    from laneb.storage.store import Store

_STORED = frozenset(section.title for section in EXPERIMENT_SECTIONS)


def write_overrides(locations: Locations, overrides: Mapping[str, Any]) -> None:
    """Keep `overrides` with the experiment, in place of those kept before."""
    write_text(locations.overrides_json, json.dumps(dict(sorted(overrides.items())), indent=2) + "\n")


def keep_overrides(locations: Locations, overrides: Mapping[str, Any]) -> None:
    """`write_overrides`, unless they are kept already; a file that can't be read any more is replaced."""
    try:
        kept = read_overrides(locations) == dict(overrides)
    except SettingsError:
        kept = False
    if not kept:
        write_overrides(locations, overrides)


def apply_overrides(
    profile: str | None,
    locations: Locations,
    wanted: Mapping[str, Any],
    *,
    reset: bool = False,
    shown: Mapping[str, Any] | None = None,
) -> tuple[Settings, list[str]]:
    """Validate and keep the launchpad's overrides beside those that are kept, and resolve the settings with them.

    Args:
        profile: the experiment's profile.
        locations: its places.
        wanted: `{"section.name": value}`, as launched; what it doesn't name stays as it is kept.
        reset: drop what is kept first. Seeds, horizons and what names a file or program on the machine stay: the
            launchpad neither changes nor drops them.
        shown: the overrides that the launchpad opened with.

    Returns:
        The settings, and a sentence for each override that is new, changed or dropped.

    Raises:
        SettingsError: with every problem: an unknown or bad knob, one that the environment sets or that the launchpad
            may not set, or a value that only repeats what the launchpad showed, when another one is kept by now.
            Nothing is kept then.
    """
    kept, shown = read_overrides(locations), shown or {}
    problems: list[str] = []
    asked: dict[str, Any] = {}
    for name, value in wanted.items():
        try:
            key, parsed = validate_override(name, value)
        except SettingsError as error:
            problems += error.problems
            continue
        if key in kept and parsed == kept[key]:
            asked[key] = parsed
        elif problem := _may_not(key, parsed, kept, shown, reset=reset):
            problems.append(problem)
        else:
            asked[key] = parsed
    if problems:
        raise SettingsError(problems)
    fixed = {key: value for key, value in kept.items() if not launchpad_may_set(find_knob(key))}
    now = {**(fixed if reset else kept), **asked}
    settings = load_settings(profile, overrides=now, work_dir=str(locations.work_dir))
    # What is only kept may be hidden by the environment; what is asked for now may not.
    hidden = sorted(key for key in settings.set_by_environment() & asked.keys() if asked[key] != kept.get(key))
    if hidden:
        raise SettingsError([f"{key}: the environment sets it, which beats an override. Unset it." for key in hidden])
    write_overrides(locations, now)
    return settings, _changes(kept, now)


def _may_not(key: str, value: Any, kept: Mapping[str, Any], shown: Mapping[str, Any], *, reset: bool) -> str:
    """Why the launchpad may not set a knob to a value; empty when it may."""
    if key in PARTITION_KNOBS or key == "automation.automation":
        return (
            f"{key}: seeds, horizons and what starts by itself are known before definitions load, so the launchpad "
            "can't change them. Set it with `laneb run --set`, in the profile or in the environment, then reload "
            "the code location."
        )
    if not launchpad_may_set(find_knob(key)):
        return (
            f"{key}: it names a file, a program or its arguments on this machine, which the launchpad may not choose. "
            "Set it with `laneb run --set`, in the profile or in the environment."
        )
    if not reset and key in shown and shown[key] == value:
        now = f"{kept[key]} is kept" if key in kept else "it was dropped"
        return (
            f"{key}: the launchpad opened with {value}, which was kept when definitions loaded; since then {now}. "
            "Reload the code location and launch again."
        )
    return ""


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A sentence for each knob that is overridden differently."""
    lines = []
    for key in sorted(before.keys() | now.keys()):
        if key not in now:
            lines.append(f"{key}: the override {before[key]} is dropped")
        elif key not in before:
            lines.append(f"{key}: {now[key]}, new")
        elif before[key] != now[key]:
            lines.append(f"{key}: {now[key]}, which was {before[key]}")
    return lines


def current_experiment(store: Store, loaded: Settings) -> Experiment:
    """The settings that `experiment` stored, if they are those that hold now.

    Args:
        store: of the experiment.
        loaded: the settings that definitions were loaded with.

    Raises:
        SettingsError: profile, environment or overrides say something else by now, or definitions were loaded with
            other partitions: each knob is named, with what to do.
    """
    stored = store.read(Experiment)
    now = load_settings(loaded.profile, work_dir=str(store.locations.work_dir))
    moved = [knob for knob in all_knobs() if knob.key in PARTITION_KNOBS and _value(loaded, knob) != _value(now, knob)]
    if moved:
        raise SettingsError([_reload(knob, loaded, now) for knob in moved])
    behind = [
        f"{knob.key} is {shown(_value(stored, knob))} in experiment, and {shown(_value(now, knob))} by now "
        f"({now.origins[knob.key]})"
        for knob in all_knobs()
        if knob.section in _STORED and _value(stored, knob) != _value(now, knob)
    ]
    if behind:
        more = f"; and {len(behind) - 3} more" if len(behind) > 3 else ""
        raise SettingsError(
            [f"experiment is behind: {'; '.join(behind[:3])}{more}. Materialize experiment first (or run: laneb run)."]
        )
    return stored


def _reload(knob: Knob, loaded: Settings, now: Settings) -> str:
    before, after = shown(_value(loaded, knob)), shown(_value(now, knob))
    return (
        f"{knob.key} was {before} when definitions loaded and is {after} by now ({now.origins[knob.key]}): reload the "
        "code location, then materialize experiment."
    )


def _value(settings: Settings | Experiment, knob: Knob) -> Any:
    return getattr(getattr(settings, knob.section), knob.name)


def shown(value: Any) -> str:
    """A knob's value as people write it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def refuse_foreign_work_dir(experiment: str, locations: Locations) -> None:
    """Raise a SettingsError if the work directory is another experiment's."""
    owner = owner_of(locations)
    if owner not in (None, experiment):
        raise SettingsError(
            [
                f"{locations.work_dir} is the work directory of experiment {owner}, so {experiment} can't use it too. "
                "Unset LANE_B_WORK_DIR, or give each experiment its own."
            ]
        )


def owner_of(locations: Locations) -> str | None:
    """The experiment that a work directory belongs to; None while nothing was materialized there."""
    try:
        text = locations.experiment_json.read_text(encoding="utf-8")
        return str(json.loads(text)["experiment"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
