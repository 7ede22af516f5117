"""Turning plain functions into an experiment's assets and checks.

An asset's key and its partitions come from the experiment's settings, so it can't be a module-level `@dg.asset`: each
module has functions that do the work, and one function of the settings that makes them assets.
"""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from laneb.settings import Settings
from laneb_assets.names import EXPERIMENT_TAG, OWNERS, TRAINED, key_of, settings_asset


def lane_asset(
    settings: Settings,
    function: Callable[..., Any],
    *,
    group: str,
    deps: Sequence[str] = (),
    sections: Sequence[str] = (),
    partitions: dg.PartitionsDefinition[Any] | None = None,
    kinds: Sequence[str] = (),
    pool: str | None = None,
) -> dg.AssetsDefinition:
    """`function` as an asset of the experiment, under the function's name and docstring.

    Args:
        settings: of the experiment.
        function: what makes it.
        group: its asset group.
        deps: the assets that it reads, by short name.
        sections: the settings sections that it uses: a change of one of their knobs makes it stale.
        partitions: its partitions, if any.
        kinds: icons.
        pool: what it waits its turn in.
    """
    experiment = settings.experiment
    return dg.asset(
        name=function.__name__,
        key_prefix=experiment,
        deps=[
            dg.AssetDep(key_of(experiment, dep), partition_mapping=_mapping(dep, partitions))
            for dep in (*deps, *map(settings_asset, sections))
        ],
        partitions_def=partitions,
        group_name=group,
        kinds=set(kinds),
        owners=OWNERS,
        tags={EXPERIMENT_TAG: experiment},
        pool=pool,
    )(function)


def lane_check(
    settings: Settings, function: Callable[..., Any], *, asset: str, blocking: bool
) -> dg.AssetChecksDefinition:
    """`function` as a gate on an asset. Blocking where what follows would be wrong, else a warning."""
    return dg.asset_check(
        asset=key_of(settings.experiment, asset),
        name=function.__name__,
        description=function.__doc__,
        blocking=blocking,
    )(function)


def _mapping(dep: str, partitions: dg.PartitionsDefinition[Any] | None) -> dg.PartitionMapping | None:
    """An asset without partitions reads every partition of those that are trained."""
    return dg.AllPartitionMapping() if dep in TRAINED and partitions is None else None
