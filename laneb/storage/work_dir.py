"""The work directory on this machine: made, and whether it can be written."""

from __future__ import annotations

from laneb.settings import Settings, SettingsError

LOCK = ".laneb_run.lock"
"""In the work directory: held while `laneb run` is at work there."""


def make_work_dir(settings: Settings) -> None:
    """Make the work directory on this machine; a SettingsError says when that is impossible."""
    try:
        settings.locations.local_dir.mkdir(parents=True, exist_ok=True)
        (settings.locations.local_dir / LOCK).touch()
    except OSError as error:
        raise SettingsError(
            [
                f"{settings.locations.work_dir} can't be written: {error.strerror or error}. Choose another place with "
                "--work-dir, LANE_B_WORK_DIR or NANOCHAT_BASE_DIR."
            ]
        ) from None
