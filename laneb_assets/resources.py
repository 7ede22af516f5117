"""What assets are handed: the experiment's store, its warehouse, and the trainer."""

import contextlib
import re
import signal
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import tenacity
from pydantic import Field

from laneb.knobs import EngineKnobs
from laneb.places import Locations
from laneb.records.experiment import Experiment
from laneb.records.runs import RunResult
from laneb.settings import Settings
from laneb.storage.atomic import StorageError
from laneb.storage.overrides import current_experiment
from laneb.storage.store import Store
from laneb.storage.warehouse import Warehouse
from laneb.training.launch import training_command
from laneb.training.run_directory import (
    HELD_BY_ANOTHER,
    LOG,
    SPEC,
    RunHeldError,
    events_size,
    failure_since,
    failures_noted,
    prepare,
    read_result,
    unwritable_now,
)
from laneb.training.spec import RunSpec
from laneb_assets.dagster_internals import DagsterPipesExecutionError
from laneb_assets.elsewhere import STOPPED, Elsewhere
from laneb_assets.views.heartbeat import heartbeat
from laneb_assets.views.progress import say_that_it_waits


@dataclass(frozen=True)
class LaneStore(Store):
    """The experiment's store, for assets of definitions that were loaded with `loaded`."""

    loaded: Settings

    def experiment(self) -> Experiment:
        """The stored settings.

        Raises:
            SettingsError: they aren't those that hold now: each knob is named, with what to do.
        """
        return current_experiment(self, self.loaded)


Stored = dg.ResourceParam[LaneStore]
Duck = dg.ResourceParam[Warehouse]

_STOPPED_CODES = (130, 143)

CHILD_ENVIRONMENT = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""Looking for plugins among all that is installed takes a tenth of a short run, and a training process has none."""


class Repeat(dg.Config):
    """The switch in the launchpad of an asset that trains."""

    repeat: bool = Field(
        default=False,
        description="Train again what is finished already, to time it again; the earlier attempt is kept.",
    )


@dataclass(frozen=True)
class Trained:
    """A run's result, and whether it was trained for it now or found."""

    result: RunResult
    now: bool


@dataclass(frozen=True)
class Trainer:
    """Trains a run in a process of its own, streaming its log and progress back through Pipes.

    Where the settings name an engine, or files lie in a bucket, `laneb.engines` trains it in its place.
    """

    client: dg.PipesSubprocessClient
    locations: Locations
    engine: EngineKnobs

    def train(self, context: dg.AssetExecutionContext, spec: RunSpec, role: str, repeat: Repeat) -> Trained:
        """The finished run of `spec`: trained, resumed from its checkpoint, or read when it was trained before.

        While another process trains it, its result is waited for.

        Args:
            context: of the asset.
            spec: the run.
            role: what the run is kept as.
            repeat: whether a finished run is trained again.

        Raises:
            dg.Failure: the training process failed; the log's last lines say why.
        """
        # Who is told decides nothing of the run, so the settings that its asset depends on don't hold it.
        spec = spec.model_copy(update={"trackers": self.engine.trackers})
        store = Store(self.locations)
        kept = _kept(store, spec, role)
        if self.locations.trained_elsewhere:
            place = Elsewhere(self.locations, self.engine, store.read(Experiment).training)
            spec, found = wanted_attempt(spec, place.finished(spec), kept, repeat=repeat.repeat)
            return Trained(place.train(context, spec), now=not found)
        run_dir = self.locations.runs_dir / spec.run_id
        # A run has several roles in a lane, so two partitions can want it at once: one trains it, the other waits.
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RunHeldError),
            wait=tenacity.wait_fixed(2),
            before_sleep=lambda state: _say_once(context, state),
        )
        spec, _ = wanted_attempt(spec, read_result(run_dir, spec), kept, repeat=repeat.repeat)
        trained = retrying(self._train, context, run_dir, spec)
        result = read_result(run_dir, spec)
        if result is None:
            raise dg.Failure(f"{spec.run_id} ended without a result; see {run_dir / LOG}.", allow_retries=False)
        return Trained(result, now=trained)

    def _train(self, context: dg.AssetExecutionContext, run_dir: Path, spec: RunSpec) -> bool:
        """Whether it was this that trained it."""
        state = prepare(run_dir, spec)
        if state == "done":
            context.log.info(f"{spec.run_id} was trained before ({spec.fingerprint}); nothing to train.")
            return False
        if spec.attempt > 1:
            context.log.info(f"{spec.run_id}: attempt {spec.attempt}; the one before is kept beside it")
        context.log.info(f"{spec.run_id}: {spec.steps} steps, {state}; log at {run_dir / LOG}")
        command = training_command(run_dir / SPEC, Store(self.locations).read(Experiment).training)
        before = failures_noted(run_dir)
        try:
            with heartbeat(context, run_dir, events_size(run_dir)):
                self.client.run(context=context, command=command, extras={"run_id": spec.run_id}, env=CHILD_ENVIRONMENT)
        except DagsterPipesExecutionError as error:
            if _exited_with(error, HELD_BY_ANOTHER):
                raise RunHeldError(f"{run_dir} is being trained by another process") from None
            if _exited_with(error, *_STOPPED_CODES):
                raise dg.Failure(
                    f"{STOPPED}: {spec.run_id} (seed {spec.seed}) has a checkpoint", allow_retries=False
                ) from None
            reason = failure_since(run_dir, before) or unwritable_now(run_dir)
            reason = reason or (
                f"{_ended_how(error)}. Its log: {run_dir / LOG}. Materialize the partition again to go on from its "
                "last checkpoint."
            )
            raise dg.Failure(f"{spec.run_id} (seed {spec.seed}): {reason}", allow_retries=False) from error
        return True


def _kept(store: Store, spec: RunSpec, role: str) -> RunResult | None:
    """The result that is kept in a role, where it is this run's."""
    with contextlib.suppress(StorageError):
        kept = store.read_run(role, role)
        if kept.fingerprint == spec.fingerprint:
            return kept
    return None


def wanted_attempt(
    spec: RunSpec, finished: RunResult | None, kept: RunResult | None, *, repeat: bool
) -> tuple[RunSpec, bool]:
    """The spec with the attempt that is wanted, and whether that one is finished already.

    A repeated run, and one that a NaN ended, is followed by the attempt after the one that the role has. Where a run
    has several roles, the first to ask trains it, and the others take the same.

    Args:
        spec: of the run.
        finished: its latest result.
        kept: the result that the asking role has of it.
        repeat: whether it is repeated on purpose.
    """
    latest = 0 if finished is None else finished.attempt
    seen = latest if kept is None else kept.attempt
    again = repeat or (kept is not None and kept.status == "failed_nan")
    attempt = seen + 1 if again else 1
    return spec.model_copy(update={"attempt": attempt}), latest >= attempt


def _say_once(context: dg.AssetExecutionContext, state: tenacity.RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome is not None:
        context.log.info(f"{state.outcome.exception()}; its result is waited for")


def _exited_with(error: DagsterPipesExecutionError, *codes: int) -> bool:
    return any(str(error).endswith(f"code {code}") for code in codes)


def _ended_how(error: DagsterPipesExecutionError) -> str:
    """A process that could not say why it ended was ended by something else."""
    match = re.search(r"code -(\d+)$", str(error))
    if match is None:
        return str(error)
    memory = ", as a machine that is out of memory does" if int(match[1]) == signal.SIGKILL else ""
    return f"its training process was ended by signal {match[1]}{memory}"


Training = dg.ResourceParam[Trainer]


def resources_of(settings: Settings) -> dict[str, object]:
    """The resources of one experiment."""
    locations = settings.locations
    return {
        "store": LaneStore(locations, settings),
        "warehouse": Warehouse(locations.duckdb_path, say=say_that_it_waits),
        "trainer": Trainer(dg.PipesSubprocessClient(), locations, settings.engine),
    }
