"""The overrides kept with an experiment: single knobs set in the launchpad or with `laneb run --set`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from laneb.places import Locations
from laneb.settings import PARTITION_KNOBS, Settings, SettingsError, load_settings, read_overrides, validate_override
from laneb.storage.atomic import write_text

FIXED_KNOBS = PARTITION_KNOBS | {"baseline.source", "places.baseline_results_dir", "automation.automation"}
"""What is known before definitions load: the launchpad neither changes nor drops it."""


def write_overrides(locations: Locations, overrides: Mapping[str, Any]) -> None:
    """Keep `overrides` with the experiment, in place of those kept before."""
    write_text(locations.overrides_json, json.dumps(dict(sorted(overrides.items())), indent=2) + "\n")


def apply_overrides(profile: str | None, locations: Locations, overrides: Mapping[str, Any]) -> Settings:
    """Validate and keep the launchpad's overrides, and resolve the settings with them.

    Seeds and horizons stay as they were kept: they are partitions, known since the definitions loaded.

    Raises:
        SettingsError: an unknown or bad knob, one that the environment sets, or a partition's; nothing is kept then.
    """
    kept = read_overrides(locations)
    wanted = dict(validate_override(key, value) for key, value in overrides.items())
    partitions = {key: value for key, value in kept.items() if key in FIXED_KNOBS}
    moved = sorted(key for key in wanted.keys() & FIXED_KNOBS if wanted[key] != kept.get(key))
    if moved:
        raise SettingsError(
            [
                f"{key}: seeds, horizons and what starts by itself are known before definitions load, so the launchpad "
                "can't change them. Set it with `laneb run --set`, in the profile or in the environment, then reload "
                "the code location."
                for key in moved
            ]
        )
    work_dir = str(locations.work_dir)
    now = {**wanted, **partitions}
    settings = load_settings(profile, overrides=now, work_dir=work_dir)
    # What is only kept may be hidden by the environment; what is asked for now may not.
    asked = {key for key, value in wanted.items() if value != kept.get(key)}
    hidden = sorted(settings.set_by_environment() & asked)
    if hidden:
        raise SettingsError([f"{key}: the environment sets it, which beats an override. Unset it." for key in hidden])
    write_overrides(locations, now)
    return settings


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
