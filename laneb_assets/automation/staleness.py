"""Which assets are up to date: the answer that the UI shows, and whether what was made still lies there.

The one judgement of it: `laneb run` makes what this says is not up to date, the sensors start what it says changed, and
the check `up_to_date_with_settings` names what it says is stale.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import dagster as dg

from laneb.corpus.state import corpus_is_unchanged, tokenizer_is_unchanged
from laneb.storage.condition import condition_of
from laneb.storage.products import PRODUCTS, SOURCE_HASH
from laneb.storage.results import results_fingerprint
from laneb_assets.dagster_internals import StaleStatus, stale_status_resolver
from laneb_assets.lane import Lane

DATA_VERSION_TAG = "dagster/data_version"


@dataclass(frozen=True)
class Freshness:
    """Whether a materialization is there and made from what its inputs are now."""

    fresh: bool
    missing: bool = False
    changed: Sequence[str] = field(default=())
    """Short names of the dependencies that say something else now than when the asset was made from them."""


@dataclass(frozen=True)
class Staleness:
    """Answers for one moment: what was read from the instance once is not read again."""

    lane: Lane
    instance: dg.DagsterInstance

    def of(self, name: str, partition: str | None = None) -> Freshness:
        """Whether an asset, or one partition of it, was made from what its inputs are now."""
        key = self.lane.key(name)
        status = self._resolver.get_status(key, partition)
        if status == StaleStatus.FRESH:
            return Freshness(fresh=True)
        if status == StaleStatus.MISSING:
            return Freshness(fresh=False, missing=True)
        causes = self._resolver.get_stale_causes(key, partition)
        names = [cause.dependency.asset_key.path[-1] for cause in causes if cause.dependency is not None]
        return Freshness(fresh=False, changed=tuple(dict.fromkeys(names)))

    def says_settings(self, name: str) -> bool:
        """Whether an asset is there and of the settings that hold now, whatever else it is made from has changed."""
        found = self.of(name)
        return not found.missing and set(found.changed) <= set(self.lane.parents(name))

    def partitions(self, name: str) -> dict[str | None, Freshness]:
        """Whether each partition of an asset is up to date."""
        return {partition: self.of(name, partition) for partition in self.lane.partitions(name)}

    def made(self, name: str) -> bool:
        """Whether every partition of an asset was materialized."""
        return not any(state.missing for state in self.partitions(name).values())

    def up_to_date(self, name: str, partition: str | None = None) -> bool:
        """Whether nothing is to be done for it: fresh, and what was made still lies there as it was made."""
        return self.of(name, partition).fresh and self._still_there(name, partition) and self._same_input(name)

    def latest(self, name: str) -> int:
        """Storage id of an asset's newest materialization, of any partition; 0 without one."""
        records = self.instance.fetch_materializations(self.lane.key(name), limit=1).records
        return records[0].storage_id if records else 0

    def damage(self, name: str, partition: str | None = None) -> str:
        """What of something that was made is missing or damaged, in words; empty where all is whole or nothing was."""
        made = self._materialization(name, partition) is not None
        return condition_of(self.lane.store, name, partition).reason if made else ""

    def _still_there(self, name: str, partition: str | None) -> bool:
        """A work directory that was deleted or damaged is made again; another one may hold something else."""
        store = self.lane.store
        if not condition_of(store, name, partition).whole:
            return False
        if PRODUCTS[name].record is None and partition is None:
            return True
        return store.data_version(name, partition) == self._version(name, partition)

    def _same_input(self, name: str) -> bool:
        """Text and imported results may have changed on disk, where no materialization tells of it."""
        store = self.lane.store
        if name == "tokenizer":
            return tokenizer_is_unchanged(store)
        if name == "token_shards":
            return corpus_is_unchanged(store)
        if name == "baseline_results" and self.lane.settings.baseline.source == "directory":
            latest = self._materialization(name, None)
            seen = latest.metadata.get(SOURCE_HASH) if latest else None
            return seen is not None and seen.value == results_fingerprint(self.lane.settings.locations)
        return True

    def _version(self, name: str, partition: str | None) -> str | None:
        latest = self._materialization(name, partition)
        return (latest.tags or {}).get(DATA_VERSION_TAG) if latest else None

    def _materialization(self, name: str, partition: str | None) -> dg.AssetMaterialization | None:
        wanted = dg.AssetRecordsFilter(self.lane.key(name), asset_partitions=[partition] if partition else None)
        records = self.instance.fetch_materializations(wanted, limit=1).records
        return records[0].asset_materialization if records else None

    @cached_property
    def _resolver(self):
        return stale_status_resolver(self.lane.graph, self.instance)
