"""The persistent Dagster instance of the checkout, shared by `laneb run`, `laneb ui` and `dagster dev`."""

import os

import dagster as dg

from laneb_assets.home import InstanceError, dagster_home, fault_on_disk, faults_explained, only_opener


def open_instance() -> dg.DagsterInstance:
    """The instance at `dagster_home()`.

    Raises:
        SettingsError: DAGSTER_HOME can't be used.
        InstanceError: what lies there can't; says which file.
    """
    home = dagster_home()
    os.environ["DAGSTER_HOME"] = str(home)
    with faults_explained(home), only_opener(home):
        # Dagster opens for reading what can't be written, and fails in the middle of a run.
        if fault := fault_on_disk(home, quick=True):
            raise InstanceError(fault)
        instance = dg.DagsterInstance.from_config(str(home))
        # Opens, and at the first start makes, every file of its storage while no other process does.
        instance.get_runs_count()
        instance.all_instigator_state()
        instance.get_asset_keys(limit=1)
        return instance
