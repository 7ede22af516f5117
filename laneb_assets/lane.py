"""An experiment's assets by their short names, as `laneb run` and the sensors walk them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg

from laneb.knobs import EXPERIMENT_SECTIONS
from laneb.settings import Settings
from laneb.storage.store import Store
from laneb_assets.dagster_internals import BaseAssetGraph
from laneb_assets.names import EXPERIMENT, key_of, settings_asset

SECTION_ASSETS = frozenset(settings_asset(section.title) for section in EXPERIMENT_SECTIONS)


@dataclass(frozen=True)
class Lane:
    """One experiment: its settings, and its part of a graph of assets."""

    settings: Settings
    graph: BaseAssetGraph[Any]

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        return self.settings.experiment

    @property
    def store(self) -> Store:
        """Where its records lie."""
        return Store(self.settings.locations)

    def key(self, name: str) -> dg.AssetKey:
        """The asset called `name`."""
        return key_of(self.experiment, name)

    def has(self, name: str) -> bool:
        """Whether the experiment has an asset called `name`."""
        return self.graph.has(self.key(name))

    @cached_property
    def levels(self) -> list[list[str]]:
        """The assets but those of the settings, in levels: each depends on earlier ones alone."""
        levels = []
        for level in self.graph.toposorted_asset_keys_by_level:
            names = [key.path[-1] for key in level if key.path[0] == self.experiment]
            names = [name for name in names if not self.holds_settings(name)]
            if names:
                levels.append(sorted(names))
        return levels

    def holds_settings(self, name: str) -> bool:
        """Whether an asset is `experiment` or one of its sections: all made by one op."""
        return name == EXPERIMENT or name in SECTION_ASSETS

    @property
    def settings_keys(self) -> list[dg.AssetKey]:
        """`experiment` and its sections."""
        keys = (key for key in self.graph.get_all_asset_keys() if key.path[0] == self.experiment)
        return sorted(key for key in keys if self.holds_settings(key.path[-1]))

    def parents(self, name: str) -> list[str]:
        """The assets that an asset reads, settings sections left out."""
        parents = (key.path[-1] for key in self.graph.get(self.key(name)).parent_keys)
        return sorted(parent for parent in parents if not self.holds_settings(parent))

    def pool(self, name: str) -> tuple[str, str] | None:
        """The step of an asset that waits for its turn, and the pool; None for one that doesn't."""
        pool = self.graph.get(self.key(name)).assets_def.op.pool
        return (self.op_name(name), pool) if pool else None

    def op_name(self, name: str) -> str:
        """The name of what makes an asset, in a run's config and events."""
        return str(self.graph.get(self.key(name)).assets_def.op.name)

    def partitions(self, name: str) -> Sequence[str | None]:
        """An asset's partition keys; one None for an asset without."""
        partitions = self.graph.get(self.key(name)).partitions_def
        return [None] if partitions is None else [str(key) for key in partitions.get_partition_keys()]
