"""What Lane B needs of Dagster's private modules, imported here alone, so that one place says what may break.

- Which partitions are stale: Dagster answers it only in its GraphQL server; the resolver that the server uses is here.
- A backfill's state, to leave alone an experiment that one is working on.
- The error of a Pipes process, unlike every other error not exported.
- A run's origin, by which the UI's timeline and *Re-execute* find runs that `laneb run` started.

pyproject.toml bounds dagster to one minor release for that reason; tests/assets/test_dagster_internals.py uses each.
"""

from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.errors import DagsterPipesExecutionError
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.loader import LoadingContext

__all__ = [
    "BACKFILL_UNDER_WAY",
    "BaseAssetGraph",
    "DagsterPipesExecutionError",
    "StaleStatus",
    "stale_status_resolver",
]

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


def stale_status_resolver(graph: BaseAssetGraph, instance: dg.DagsterInstance) -> CachingStaleStatusResolver:
    """Answers for one moment: what was read from the instance once is not read again."""
    return CachingStaleStatusResolver(instance, graph, _Loading(instance))
