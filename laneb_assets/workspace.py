"""The code locations that the UI loads: what the checkout's workspace.yaml lists."""

from pathlib import Path
from typing import Any

import yaml

from laneb.places import checkout_root
from laneb.settings import Settings

LOCATION = "laneb"
"""The code location of `laneb_assets.definitions`, which holds the experiment of `LANE_B_PROFILE`."""


def workspace_file() -> Path:
    """The checkout's workspace.yaml."""
    return checkout_root() / "workspace.yaml"


def location_of(settings: Settings) -> str:
    """The code location that holds an experiment: one that is named as it or its profile, else `laneb`."""
    named = {settings.experiment, Path(settings.profile).stem}
    return next((name for name in _location_names() if name in named), LOCATION)


def _location_names() -> list[str]:
    try:
        listed: Any = yaml.safe_load(workspace_file().read_text(encoding="utf-8"))
        targets = [target for entry in listed["load_from"] for target in entry.values()]
    except (OSError, yaml.YAMLError, TypeError, KeyError, AttributeError):
        # Whoever opens the UI is told what is wrong with the file; a run needs it for a name alone.
        return []
    return [
        str(target["location_name"]) for target in targets if isinstance(target, dict) and "location_name" in target
    ]
