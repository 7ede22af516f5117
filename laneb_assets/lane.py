"""Declaring the lane's assets and checks once, and making them an experiment's.

Asset keys are `<experiment>/<asset>`, and partitions come from the experiment's settings, so an asset can't be a
module-level `@dg.asset`. Modules declare with `@lane_asset` and `@lane_check`, in which names are the short ones;
`assets_of` and `checks_of` turn the declarations into Dagster's definitions for one experiment.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from laneb.settings import Settings
from laneb_assets.partitions import Partitions

EXPERIMENT = "experiment"


@dataclass(frozen=True)
class LaneAsset:
    """What an asset is, whatever the experiment."""

    function: Callable[..., Any]
    group: str
    deps: Sequence[str]
    settings: Sequence[str]
    partitions: str | None
    kinds: frozenset[str]
    pool: str | None

    @property
    def name(self) -> str:
        """The asset's short name."""
        return self.function.__name__


@dataclass(frozen=True)
class LaneCheck:
    """A gate on an asset."""

    function: Callable[..., Any]
    asset: str
    blocking: bool


@dataclass
class Declarations:
    """Everything that modules declared, in order of import."""

    assets: dict[str, LaneAsset] = field(default_factory=dict)
    checks: dict[tuple[str, str], LaneCheck] = field(default_factory=dict)


declared = Declarations()


def lane_asset(
    *,
    group: str,
    deps: Sequence[str] = (),
    settings: Sequence[str] = (),
    partitions: str | None = None,
    kinds: Sequence[str] = (),
    pool: str | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare an asset: what it reads (assets and settings sections, by short name) and how it is partitioned."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        asset = LaneAsset(function, group, tuple(deps), tuple(settings), partitions, frozenset(kinds), pool)
        declared.assets[asset.name] = asset
        return function

    return declare


def lane_check(*, asset: str, blocking: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a gate on an asset. Blocking where what follows would be wrong, else a warning."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        declared.checks[asset, function.__name__] = LaneCheck(function, asset, blocking)
        return function

    return declare


def in_order() -> list[LaneAsset]:
    """The declared assets, each after those that it depends on."""
    ordered: dict[str, LaneAsset] = {}

    def visit(asset: LaneAsset) -> None:
        for dep in asset.deps:
            visit(declared.assets[dep])
        ordered.setdefault(asset.name, asset)

    for asset in declared.assets.values():
        visit(asset)
    return list(ordered.values())


def skipped(settings: Settings) -> tuple[str, ...]:
    """The assets that are left out: with imported results, those that train baselines or look into trained ones."""
    return ("baseline_runs", "context_loss") if settings.baseline.source == "directory" else ()


def settings_asset(section: str) -> str:
    """The short name of the asset that holds a settings section."""
    return f"{section}_settings"


def key_of(experiment: str, name: str) -> dg.AssetKey:
    """`<experiment>/<asset>`."""
    return dg.AssetKey([experiment, name])


def assets_of(
    experiment: str, partitions: Partitions, skip: Sequence[str], also: Mapping[str, Sequence[str]]
) -> list[dg.AssetsDefinition]:
    """The declared assets but those in `skip`, as assets of one experiment.

    `also` names settings sections that an asset reads only with this experiment's settings.
    """
    return [
        dg.asset(
            name=asset.name,
            key_prefix=experiment,
            deps=[
                dg.AssetDep(key_of(experiment, dep), partition_mapping=_mapping(asset, dep))
                for dep in (*asset.deps, *map(settings_asset, [*asset.settings, *also.get(name, ())]))
                if dep not in skip
            ],
            partitions_def=getattr(partitions, asset.partitions) if asset.partitions else None,
            group_name=asset.group,
            kinds=set(asset.kinds),
            pool=asset.pool,
        )(asset.function)
        for name, asset in declared.assets.items()
        if name not in skip
    ]


def checks_of(experiment: str, skip: Sequence[str]) -> list[dg.AssetChecksDefinition]:
    """The declared checks on assets that aren't skipped."""
    return [
        dg.asset_check(
            asset=key_of(experiment, check.asset),
            name=check.function.__name__,
            description=check.function.__doc__,
            blocking=check.blocking,
        )(check.function)
        for check in declared.checks.values()
        if check.asset not in skip
    ]


def _mapping(asset: LaneAsset, dep: str) -> dg.PartitionMapping | None:
    upstream = declared.assets.get(dep)
    fans_in = upstream is not None and upstream.partitions is not None and asset.partitions is None
    return dg.AllPartitionMapping() if fans_in else None
