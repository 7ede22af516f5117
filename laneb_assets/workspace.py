"""The code locations that the UI loads: what the checkout's workspace.yaml lists."""

from pathlib import Path
from typing import Any

import yaml

from laneb.places import checkout_root
from laneb.settings import Settings, SettingsError

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


def write_workspace(folder: Path, root: Path) -> Path:
    """A checkout's workspace.yaml in another folder, with its relative paths made absolute.

    Dagster takes `working_directory` from the folder that a process happens to be in. Without a file, as where Lane B
    is installed as a package, it lists Lane B's own location.

    Raises:
        SettingsError: the file can't be read, or says what Dagster doesn't take.
    """
    from laneb_assets.dagster_internals import workspace_faults

    source = root / "workspace.yaml"
    own = {"load_from": [{"python_module": {"module_name": "laneb_assets.definitions", "location_name": LOCATION}}]}
    try:
        listed: Any = yaml.safe_load(source.read_text(encoding="utf-8")) if source.is_file() else own
        if not isinstance(listed, dict) or "load_from" not in listed:
            raise ValueError('it has no "load_from"')
        if faults := workspace_faults(listed):
            raise ValueError(faults[0].rstrip("."))
        entries = [dict(entry) for entry in listed["load_from"]]
    except (OSError, yaml.YAMLError, ValueError) as error:
        raise SettingsError([f"{source}: no workspace of Dagster: {' '.join(str(error).split())}."]) from None
    target = folder / "workspace.yaml"
    target.write_text(
        yaml.safe_dump({**listed, "load_from": [_absolute(entry, root) for entry in entries]}), encoding="utf-8"
    )
    return target


_TARGETS = {"python_module": "module_name", "python_package": "package_name", "python_file": "relative_path"}
"""What an entry of a workspace file names, and the key that says it."""


def _absolute(entry: dict[str, Any], root: Path) -> dict[str, Any]:
    for kind, key in _TARGETS.items():
        if kind in entry:
            named = entry[kind] if isinstance(entry[kind], dict) else {key: entry[kind]}
            beside = {"working_directory": str(root / named.get("working_directory", "."))}
            if kind == "python_file":
                beside[key] = str(root / named[key])
            return {kind: {**named, **beside}}
    return entry
