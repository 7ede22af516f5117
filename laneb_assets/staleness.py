"""Which assets are up to date: the same answer that the UI shows, asked without a server.

Dagster has no public call for it outside its GraphQL server; the resolver that the server uses is imported from its
internals, in this module alone. The dagster version is bounded to one minor release for that reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.loader import LoadingContext

BACKFILL_UNDER_WAY = BulkActionStatus.REQUESTED


class _Loading(LoadingContext):
    """A loading context for one question."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._loaders: dict[type, Any] = {}

    @property
    def instance(self) -> dg.DagsterInstance:
        return self._instance

    @property
    def loaders(self) -> dict[type, Any]:
        return self._loaders


@dataclass(frozen=True)
class Freshness:
    """Whether a materialization is there and made from what its inputs are now."""

    fresh: bool
    missing: bool = False
    changed: Sequence[str] = field(default=())
    """Short names of the dependencies that say something else now than when the asset was made from them."""


class Staleness:
    """Answers for one moment: what was read from the instance once is not read again."""

    def __init__(self, graph: BaseAssetGraph, instance: dg.DagsterInstance) -> None:
        self._resolver = CachingStaleStatusResolver(instance, graph, _Loading(instance))

    def of(self, key: dg.AssetKey, partition: str | None) -> Freshness:
        """Whether an asset, or one partition of it, is up to date."""
        status = self._resolver.get_status(key, partition)
        if status == StaleStatus.FRESH:
            return Freshness(fresh=True)
        if status == StaleStatus.MISSING:
            return Freshness(fresh=False, missing=True)
        causes = self._resolver.get_stale_causes(key, partition)
        names = [cause.dependency.asset_key.path[-1] for cause in causes if cause.dependency is not None]
        return Freshness(fresh=False, changed=tuple(dict.fromkeys(names)))
