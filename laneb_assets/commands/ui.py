"""`laneb ui`: Dagster's UI on the same instance."""

import os
import sys

from laneb.places import checkout_root
from laneb.settings import absolute_environment, load_settings, profile_path
from laneb_assets.instance import dagster_home


def ui_command(profile: str | None, port: int) -> None:
    """Replace this process by `dagster dev` on loopback."""
    settings = load_settings(profile)
    home = dagster_home()
    environment = {
        **absolute_environment(os.environ),
        "DAGSTER_HOME": str(home),
        "LANE_B_PROFILE": profile_path(settings.profile),
    }
    workspace = checkout_root() / "workspace.yaml"
    target = ["-w", str(workspace)] if workspace.is_file() else ["-m", "laneb_assets.definitions"]
    command = [sys.executable, "-m", "dagster", "dev", *target, "-h", "127.0.0.1", "-p", str(port)]
    print(f"Dagster on http://127.0.0.1:{port} (Ctrl-C stops it)", flush=True)
    # Not in the checkout: its .env would beat the DAGSTER_HOME that was chosen.
    os.chdir(home)
    os.execve(sys.executable, command, environment)
