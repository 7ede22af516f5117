"""Which assets are up to date: the same answer that the UI shows, asked without a server.

Dagster has no public call for it outside its GraphQL server; the resolver that the server uses is imported from its
internals, in this module alone. The dagster version is bounded to one minor release for that reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContext


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
    """Whether a materialization is there and made from what its inputs are now; `reasons` say why not."""

    fresh: bool
    reasons: Sequence[str] = field(default=())


def freshness(defs: dg.Definitions, instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None) -> Freshness:
    """Whether an asset, or one partition of it, is up to date."""
    graph = defs.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, _Loading(instance))
    status = resolver.get_status(key, partition)
    if status == StaleStatus.FRESH:
        return Freshness(True)
    if status == StaleStatus.MISSING:
        return Freshness(False, ["not made yet"])
    causes = resolver.get_stale_causes(key, partition)
    return Freshness(False, [_reason(cause) for cause in causes])


def _reason(cause: Any) -> str:
    about = f"{cause.dependency.asset_key.path[-1]} " if cause.dependency else ""
    return f"{about}{cause.reason.replace('has a new dependency data version', 'changed')}"
