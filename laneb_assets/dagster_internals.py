"""What Lane B needs of Dagster's private modules, imported here alone, so that one place says what may break.

- Which partitions are stale: Dagster answers it only in its GraphQL server; the resolver that the server uses is here.
- A backfill's state, to leave alone an experiment that one is working on.
- The error of a Pipes process, unlike every other error not exported.
- A run's origin, by which the UI's timeline, job squares and *Re-execute* find runs that `laneb run` started:
  `execute_in_process` takes none.
- The in-process executor and the pools' storage: to show that a run lives, and to wait for a slot at no cost.
- Its storage in SQLite: to begin a run's log without a walk through all migrations.
- What a workspace file may say: Dagster tells of a bad one only in pages, when a server starts.
- Code servers that web server and daemon share: `dagster dev` starts them, and has no place for a layer before its web
  server.

pyproject.toml bounds dagster to one minor release for that reason; tests/assets/test_dagster_internals.py and
tests/runs use each.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Set
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.repository_definition import SINGLETON_REPOSITORY_NAME
from dagster._core.errors import DagsterPipesExecutionError, raise_execution_interrupts
from dagster._core.execution.api import execute_run
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from dagster._core.instance.config import PoolGranularity
from dagster._core.loader import LoadingContext
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.storage.event_log import EventLogStorage, SqliteEventLogStorage
from dagster._core.storage.tags import MAX_RETRIES_TAG

__all__ = [
    "BACKFILL_UNDER_WAY",
    "BaseAssetGraph",
    "DagsterPipesExecutionError",
    "EventLogStorage",
    "ExecutionPlan",
    "InProcessExecutor",
    "PartitionBackfill",
    "PlanOrchestrationContext",
    "PoolGranularity",
    "RetryMode",
    "SqliteEventLogStorage",
    "StaleStatus",
    "code_servers",
    "execute_as_of_location",
    "raise_execution_interrupts",
    "stale_status_resolver",
    "workspace_faults",
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


def execute_as_of_location(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    *,
    location: str,
    run_id: str,
    assets: Set[dg.AssetKey],
    partition: str | None,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
) -> dg.JobExecutionResult:
    """Run some assets of a job in this process, as a run that belongs to a code location of the UI.

    The daemon does not retry it: whoever started it goes on by itself.

    Args:
        job: one of the location that has the assets.
        instance: where the run is kept.
        location: the code location's name, as workspace.yaml gives it.
        run_id: the run's, of the caller's choice: it can be shown to be alive before it is on record.
        assets: what is materialized.
        partition: of them, if they are partitioned.
        run_config: as for a launch.
        tags: on the run.
    """
    if partition is not None:
        tags = {**job.get_tags_for_partition_key(partition, selected_asset_keys=assets), **tags}
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), SINGLETON_REPOSITORY_NAME)
    run = instance.create_run_for_job(
        job,
        run_id=run_id,
        run_config=run_config,
        tags={**job.run_tags, MAX_RETRIES_TAG: "0", **tags},
        asset_selection=assets,
        remote_job_origin=origin.get_job_origin(job.name),
    )
    return execute_run(InMemoryJob(job), run, instance)


def workspace_faults(workspace: Mapping[str, Any]) -> list[str]:
    """What Dagster does not take in a workspace file, a sentence each; nothing where all is right."""
    from dagster._core.workspace.config_schema import process_workspace_config

    # What was expected is a schema of pages.
    errors = process_workspace_config(workspace).errors or []
    return [error.message.partition(" Expected:")[0].partition(" You must provide")[0] for error in errors]


@contextlib.contextmanager
def code_servers(
    instance: dg.DagsterInstance, workspace: Path
) -> Iterator[tuple[list[Any], dict[str, Callable[[], None]]]]:
    """Code servers for what a workspace file lists, started anew when their process ends.

    Yields:
        what a workspace file says to reach them; and by location name, what loads a location again if its code can't
        be reached.
    """
    from dagster._cli.proxy_server_manager import ProxyServerManager
    from dagster._core.errors import DagsterUserCodeUnreachableError
    from dagster._core.workspace.load_target import WorkspaceFileTarget
    from dagster._grpc.client import DagsterGrpcClient

    def look(client: DagsterGrpcClient) -> None:
        try:
            client.get_server_id(timeout=10)
        except DagsterUserCodeUnreachableError:
            # The server in the middle lives and the one that holds the code does not: only it can start another.
            with contextlib.suppress(DagsterUserCodeUnreachableError):
                client.reload_code(timeout=120)

    with ProxyServerManager(instance, WorkspaceFileTarget(paths=[str(workspace)]), "WARNING") as manager:
        specs = [dict(spec) for spec in manager.get_code_server_specs()]
        servers = [spec["grpc_server"] for spec in specs]
        clients = [DagsterGrpcClient(**{k: server.get(k) for k in ("host", "port", "socket")}) for server in servers]
        named = [str(server["location_name"]) for server in servers]
        yield specs, {name: partial(look, client) for name, client in zip(named, clients, strict=True)}
