"""What assets are handed: the experiment's store, its warehouse, and the trainer."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import tenacity

from laneb.knobs import EngineKnobs
from laneb.places import Locations
from laneb.records.experiment import Experiment
from laneb.records.runs import RunResult
from laneb.settings import Settings
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
    prepare,
    read_result,
)
from laneb.training.spec import RunSpec
from laneb_assets.dagster_internals import DagsterPipesExecutionError
from laneb_assets.elsewhere import STOPPED, train_elsewhere
from laneb_assets.views.heartbeat import heartbeat


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


@dataclass(frozen=True)
class Trainer:
    """Trains a run in a process of its own, streaming its log and progress back through Pipes.

    Where the settings name an engine, or files lie in a bucket, `laneb.engines` trains it in its place.
    """

    client: dg.PipesSubprocessClient
    locations: Locations
    engine: EngineKnobs

    def train(self, context: dg.AssetExecutionContext, spec: RunSpec) -> RunResult:
        """The finished run of `spec`: trained, resumed from its checkpoint, or read when it was trained before.

        While another process trains it, its result is waited for.

        Raises:
            dg.Failure: the training process failed; the log's last lines say why.
        """
        if self.locations.trained_elsewhere:
            training = Store(self.locations).read(Experiment).training
            return train_elsewhere(context, spec, locations=self.locations, engine=self.engine, training=training)
        run_dir = self.locations.runs_dir / spec.run_id
        # A run has several roles in a lane, so two partitions can want it at once: one trains it, the other waits.
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(RunHeldError),
            wait=tenacity.wait_fixed(2),
            before_sleep=lambda state: _say_once(context, state),
        )
        retrying(self._train, context, run_dir, spec)
        result = read_result(run_dir, spec)
        if result is None:
            raise dg.Failure(f"{spec.run_id} ended without a result; see {run_dir / LOG}.", allow_retries=False)
        return result

    def _train(self, context: dg.AssetExecutionContext, run_dir: Path, spec: RunSpec) -> None:
        state = prepare(run_dir, spec)
        if state == "done":
            context.log.info(f"{spec.run_id} was trained before ({spec.fingerprint}); nothing to train.")
            return
        context.log.info(f"{spec.run_id}: {spec.steps} steps, {state}; log at {run_dir / LOG}")
        command = training_command(run_dir / SPEC, Store(self.locations).read(Experiment).training)
        before = events_size(run_dir)
        try:
            with heartbeat(context, run_dir, before):
                self.client.run(context=context, command=command, extras={"run_id": spec.run_id})
        except DagsterPipesExecutionError as error:
            if _exited_with(error, HELD_BY_ANOTHER):
                raise RunHeldError(f"{run_dir} is being trained by another process") from None
            if _exited_with(error, *_STOPPED_CODES):
                raise dg.Failure(
                    f"{STOPPED}: {spec.run_id} (seed {spec.seed}) has a checkpoint", allow_retries=False
                ) from None
            reason = failure_since(run_dir, before) or (
                f"{error}. Its log: {run_dir / LOG}. Materialize the partition again to go on from its last checkpoint."
            )
            raise dg.Failure(f"{spec.run_id} (seed {spec.seed}): {reason}", allow_retries=False) from error


def _say_once(context: dg.AssetExecutionContext, state: tenacity.RetryCallState) -> None:
    if state.attempt_number == 1 and state.outcome is not None:
        context.log.info(f"{state.outcome.exception()}; its result is waited for")


def _exited_with(error: DagsterPipesExecutionError, *codes: int) -> bool:
    return any(str(error).endswith(f"code {code}") for code in codes)


Training = dg.ResourceParam[Trainer]


def resources_of(settings: Settings) -> dict[str, object]:
    """The resources of one experiment."""
    locations = settings.locations
    return {
        "store": LaneStore(locations, settings),
        "warehouse": Warehouse(locations.duckdb_path),
        "trainer": Trainer(dg.PipesSubprocessClient(), locations, settings.engine),
    }
