"""The persistent Dagster instance of the checkout, shared by `laneb run`, `laneb ui` and `dagster dev`."""

import os
from pathlib import Path

import dagster as dg

from laneb.brought import place, shortened, unquoted
from laneb.places import checkout_root
from laneb.settings import SettingsError


def dagster_home() -> Path:
    """DAGSTER_HOME if it is set, else `.dagster` in the checkout; made ready to be used.

    Raises:
        SettingsError: DAGSTER_HOME is not an absolute path to a folder.
    """
    chosen = unquoted(os.environ.get("DAGSTER_HOME", ""))
    try:
        home = Path(place(chosen, os.environ)) if chosen else checkout_root() / ".dagster"
    except ValueError as error:
        raise SettingsError([f'DAGSTER_HOME="{shortened(chosen)}": {error}.']) from None
    if not home.is_absolute():
        raise SettingsError([f'DAGSTER_HOME="{chosen}": must be an absolute path to a folder.'])
    try:
        home.mkdir(parents=True, exist_ok=True)
        config = home / "dagster.yaml"
        if not config.exists():
            config.write_text((checkout_root() / "dagster.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise SettingsError([f"DAGSTER_HOME {home} can't be used: {error.strerror or error}."]) from None
    return home


def open_instance() -> dg.DagsterInstance:
    """The instance at `dagster_home()`."""
    home = dagster_home()
    os.environ["DAGSTER_HOME"] = str(home)
    return dg.DagsterInstance.from_config(str(home))
