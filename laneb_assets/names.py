"""What assets are called: `<experiment>/<asset>`, so that several experiments share one UI."""

import dagster as dg

EXPERIMENT = "experiment"
"""The asset of the resolved settings."""

PLAN = "lane_b_plan"
"""The asset of what the design can find out, made before anything trains and again after calibration."""

SETTINGS = "settings"
"""The group of the settings sections, out of the way of what is made."""

TRAINED = ("baseline_runs", "calibration_runs", "candidate_runs")
"""The assets whose partitions are training runs."""

TRAINING_POOL = "training"
"""Dagster's pool of what trains: its limit bounds how many do at once, however they were started."""

EXPERIMENT_TAG = "laneb/experiment"
"""On assets, and on the runs of jobs: whose they are. A job launched by its name selects no assets that would tell."""

LANE_RUN_TAG = "laneb/lane_run"
"""On runs that `laneb run` starts: the same value on all of one `laneb run`."""

REPORTS = "/laneb/report/"
"""`laneb ui` serves an experiment's report at this path and the experiment's name."""

UI_HOSTS = "LANEB_UI_HOSTS"
"""From `laneb ui` to its web server: the host names that are allowed, separated by commas."""

OWNERS = ("team:laneb",)


def key_of(experiment: str, name: str) -> dg.AssetKey:
    """The key of an asset, by its short name."""
    return dg.AssetKey([experiment, name])


def settings_asset(section: str) -> str:
    """The short name of the asset that holds a settings section."""
    return f"{section}_settings"
