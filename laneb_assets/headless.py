"""`laneb run`: the whole graph, in order, on the persistent instance, without a server.

What is up to date is left as it is; what is missing or stale is materialized, one asset (or partition) after another,
each in a Dagster run that the UI shows like its own.
"""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from filelock import FileLock, Timeout

from laneb.places import AnyPath
from laneb.records.candidates import MODES
from laneb.settings import Settings, SettingsError, read_overrides
from laneb.storage import roles
from laneb.storage.overrides import FIXED_KNOBS, write_overrides
from laneb.storage.results import results_fingerprint
from laneb.storage.store import Store
from laneb_assets.assets.corpus import corpus_is_unchanged
from laneb_assets.automation import LOCK, SOURCE_HASH
from laneb_assets.dead_runs import HOST_TAG, end_dead_runs
from laneb_assets.definitions import definitions_of
from laneb_assets.lane import EXPERIMENT, in_order, key_of, skipped
from laneb_assets.partitions import horizon_and_seed, partitions_of
from laneb_assets.resources import STOPPED
from laneb_assets.staleness import Staleness

BAD_INPUT = ("CorpusError", "SettingsError", "CheckoutError", "ResultsError")
TRAINING = ("baseline_runs", "calibration_runs", "candidate_runs")


@dataclass(frozen=True)
class Step:
    """One asset, or one partition of it."""

    asset: str
    partition: str | None = None

    @property
    def label(self) -> str:
        """`asset` or `asset [partition]`."""
        return f"{self.asset} [{self.partition}]" if self.partition else self.asset


@dataclass(frozen=True)
class Outcome:
    """How a step went: `up to date`, `done` or `failed`."""

    step: Step
    state: str
    seconds: float = 0.0
    numbers: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    bad_input: bool = False
    """It failed for what the person gave: a corpus or a setting that can't be used."""
    failed_checks: tuple[str, ...] = ()


Reporter = Callable[[Outcome], None]


def steps_of(settings: Settings) -> list[Step]:
    """Every asset and partition, in the order of the graph."""
    partitions = partitions_of(settings)
    skip = skipped(settings)
    steps = [Step(EXPERIMENT)]
    for asset in in_order():
        if asset.name in skip:
            continue
        keys = getattr(partitions, asset.partitions).get_partition_keys() if asset.partitions else [None]
        steps.extend(Step(asset.name, str(key) if key is not None else None) for key in keys)
    return steps


def run_lane(
    settings: Settings, instance: dg.DagsterInstance, *, before: Callable[[Step], None], after: Reporter
) -> list[Outcome]:
    """Materialize what isn't up to date; stop at the first failure.

    Args:
        settings: the experiment.
        instance: where runs and materializations are kept.
        before: called with each step that is about to be materialized.
        after: called with each step's outcome.

    Raises:
        SettingsError: another `laneb run` works in the same work directory.
        KeyboardInterrupt: it was told to stop; a run that was training has a checkpoint.
    """
    outcomes: list[Outcome] = []
    with _only_one(settings):
        defs = definitions_of(settings)
        if dict(settings.overrides) != read_overrides(settings.locations):
            write_overrides(settings.locations, settings.overrides)
        end_dead_runs(instance, settings.experiment)
        for step in steps_of(settings):
            if step.asset != EXPERIMENT and _up_to_date(settings, defs, instance, step):
                outcome = Outcome(step, "up to date")
            else:
                before(step)
                outcome = materialize_step(settings, defs, instance, step)
            outcomes.append(outcome)
            after(outcome)
            if outcome.state == "failed":
                break
    return outcomes


def materialize_step(settings: Settings, defs: dg.Definitions, instance: dg.DagsterInstance, step: Step) -> Outcome:
    """Materialize one step in this process."""
    job = defs.resolve_implicit_global_asset_job_def()
    keys = [key_of(settings.experiment, step.asset)]
    config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
    if step.asset == EXPERIMENT:
        assets = next(definition for definition in defs.assets or [] if keys[0] in _keys(definition))
        keys = sorted(_keys(assets))
        # An empty config would drop the overrides, as it does in the launchpad.
        kept = {key: value for key, value in settings.overrides.items() if key not in FIXED_KNOBS}
        config["ops"] = {f"{settings.experiment}__{EXPERIMENT}": {"config": {"overrides": kept}}}
    started = time.monotonic()
    result = job.execute_in_process(
        instance=instance,
        asset_selection=keys,
        partition_key=step.partition,
        run_config=config,
        raise_on_error=False,
        tags={HOST_TAG: socket.gethostname()},
    )
    seconds = time.monotonic() - started
    if not result.success:
        message, kind = _error_of(result)
        if message.startswith(STOPPED) or kind == dg.DagsterExecutionInterruptedError.__name__:
            raise KeyboardInterrupt
        return Outcome(step, "failed", seconds, error=message, bad_input=kind in BAD_INPUT)
    return Outcome(step, "done", seconds, _numbers_of(result), failed_checks=_failed_checks(result))


def _up_to_date(settings: Settings, defs: dg.Definitions, instance: dg.DagsterInstance, step: Step) -> bool:
    """Whether Dagster has it fresh and its files are still there: a work directory that was deleted is made again."""
    key = key_of(settings.experiment, step.asset)
    if not Staleness(defs.resolve_asset_graph(), instance).of(key, step.partition).fresh:
        return False
    store = Store(settings.locations)
    if not _is_what_was_made(settings, instance, store, step):
        return False
    if step.partition is None:
        return store.has_made(step.asset) and all(path.exists() for path in _files(store, step.asset))
    return any(store.has_run(role) for role in _roles(step))


def _files(store: Store, asset: str) -> list[AnyPath]:
    """What an asset makes beside its record."""
    at = store.locations
    files = {
        "baseline_results": [at.baseline_results_csv],
        "inference_schema": [at.manifest_csv, at.schema_path, at.duckdb_path],
        "lane_b_summary": [at.summary_md, at.report_html],
    }
    return files.get(asset, [])


def _is_what_was_made(settings: Settings, instance: dg.DagsterInstance, store: Store, step: Step) -> bool:
    """Whether the files hold what the latest materialization made: another work directory may hold something else, and
    text or imported results may have changed on disk."""
    key = key_of(settings.experiment, step.asset)
    wanted = dg.AssetRecordsFilter(key, asset_partitions=[step.partition] if step.partition else None)
    latest = instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
    assert latest is not None
    version = (latest.tags or {}).get("dagster/data_version")
    if step.asset in ("tokenizer", "token_shards"):
        return store.content_hash(step.asset) == version and corpus_is_unchanged(store)
    if step.asset == "baseline_results" and settings.baseline.source == "directory":
        seen = latest.metadata.get(SOURCE_HASH)
        return seen is not None and seen.value == results_fingerprint(settings.locations)
    if step.asset in ("baseline_runs", "calibration_runs"):
        return all(store.run_hash(role) == version for role in _roles(step))
    made = store.content_hash(step.asset)
    return made is None or made == version


def _roles(step: Step) -> list[str]:
    """The roles of which a partition has made at least one."""
    assert step.partition is not None
    if step.asset == "baseline_runs":
        return [roles.baseline_role(int(step.partition))]
    if step.asset == "calibration_runs":
        return [roles.calibration_role(*horizon_and_seed(step.partition))]
    return [roles.candidate_role(mode, int(step.partition)) for mode in MODES]


def _keys(definition: Any) -> set[dg.AssetKey]:
    return set(definition.keys) if isinstance(definition, dg.AssetsDefinition) else set()


def _numbers_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for event in result.get_asset_materialization_events():
        for name, value in event.materialization.metadata.items():
            if isinstance(
                value, (dg.FloatMetadataValue, dg.IntMetadataValue, dg.TextMetadataValue, dg.BoolMetadataValue)
            ):
                numbers[name] = value.value
    return numbers


def _failed_checks(result: dg.ExecuteInProcessResult) -> tuple[str, ...]:
    return tuple(
        f"{evaluation.check_name}: {evaluation.description or 'failed'}"
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed
    )


def _error_of(result: dg.ExecuteInProcessResult) -> tuple[str, str]:
    """What went wrong, in the words of its first cause, and the name of its class."""
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data and failure.user_failure_data.description:
                return str(failure.user_failure_data.description), "Failure"
            error = failure.error
            while error is not None and error.cause is not None:
                error = error.cause
            if error is not None:
                kind = str(error.cls_name)
                message = str(error.message).strip()
                return message.partition(": ")[2] if message.partition(": ")[0].endswith(kind) else message, kind
    return "the run failed; its log is in the UI", ""


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


@contextlib.contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """One `laneb run` at a time in a work directory; the lock dies with its holder."""
    make_work_dir(settings)
    # A sensor looks at the lock now and then, for a moment.
    lock = FileLock(settings.locations.local_dir / LOCK, timeout=2)
    try:
        lock.acquire()
    except Timeout:
        raise SettingsError(
            [
                f"another laneb run is at work in {settings.locations.work_dir}: wait for it, or choose another "
                "--work-dir."
            ]
        ) from None
    try:
        yield
    finally:
        lock.release()
