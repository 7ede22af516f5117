"""The one place where things are wired: an experiment's assets, checks, jobs, sensors and resources."""

import warnings
from pathlib import Path

import dagster as dg

from laneb.places import checkout_root
from laneb.settings import Settings, load_settings
from laneb.storage.overrides import refuse_foreign_work_dir
from laneb_assets.assets import lane_assets
from laneb_assets.automation.sensors import sensors_of
from laneb_assets.checks import lane_checks
from laneb_assets.jobs import jobs_of
from laneb_assets.resources import resources_of
from laneb_assets.runs.executor import lane_executor

# Every asset is declared through beta or preview APIs of Dagster that have been stable for years.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)


def build_definitions(profile: str | None = None) -> dg.Definitions:
    """The definitions of one experiment: a profile's name, or a path to its TOML file; None: `LANE_B_PROFILE`.

    A relative path is looked for in the current folder, then in the checkout. With a profile, asset groups are called
    `<experiment>_<group>`.

    A second experiment in the same UI is a module of two lines, listed in workspace.yaml as a code location of its own:

        from laneb_assets.definitions import build_definitions
        defs = build_definitions("small")

    Raises:
        SettingsError: the settings can't be used, or the work directory is another experiment's.
    """
    return definitions_of(load_settings(_beside_the_checkout(profile)), one_of_several=profile is not None)


def _beside_the_checkout(profile: str | None) -> str | None:
    """A relative path that a module names means the checkout: code servers run in other folders."""
    if profile is None or not profile.endswith(".toml") or Path(profile).is_file():
        return profile
    return str(checkout_root() / Path(profile).expanduser())


def definitions_of(settings: Settings, *, one_of_several: bool = False) -> dg.Definitions:
    """The definitions for settings that are resolved.

    Args:
        settings: of the experiment.
        one_of_several: other experiments share the UI, in which groups of one name would be one group: the names get
            the experiment's as a prefix.
    """
    refuse_foreign_work_dir(settings.experiment, settings.locations)
    assets = lane_assets(settings)
    if one_of_several:
        name = settings.experiment
        assets = list(
            dg.map_asset_specs(lambda spec: spec.replace_attributes(group_name=f"{name}_{spec.group_name}"), assets)
        )
    jobs = jobs_of(settings, assets)
    return dg.Definitions(
        assets=assets,
        asset_checks=lane_checks(settings),
        jobs=jobs,
        sensors=sensors_of(settings, jobs),
        resources=resources_of(settings),
        executor=lane_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """What workspace.yaml loads."""
    return build_definitions()
