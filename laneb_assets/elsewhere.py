"""Training a run on Slurm, Ray or by a command, or here with files in a bucket, with Dagster told how it goes."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from laneb.engines import CancelledError, EngineError, Event, Work, finished, sentence, train
from laneb.knobs import EngineKnobs, TrainingKnobs
from laneb.places import AnyPath, Locations, is_folder_path
from laneb.records.runs import RunResult
from laneb.training.spec import RunSpec

STOPPED = "stopped while training"
"""How the failure of a run begins that was told to stop, by Ctrl-C or from the UI."""


@dataclass(frozen=True)
class Elsewhere:
    """Where an experiment's runs are trained, and how training starts there."""

    locations: Locations
    engine: EngineKnobs
    training: TrainingKnobs

    def finished(self, spec: RunSpec) -> RunResult | None:
        """A run's result, if it is there: trained by whichever machine."""
        run, mirror = self._places(spec)
        return finished(run, spec, mirror)

    def train(self, context: dg.AssetExecutionContext, spec: RunSpec) -> RunResult:
        """The finished run of `spec`: trained, resumed, or read when it was trained before, here or by another machine.

        Raises:
            dg.Failure: it was cancelled, or failed; says why.
        """
        role = context.asset_key.path[-1].removesuffix("_runs")
        work = Work(spec, *self._places(spec), self.training, self.engine, role)

        def tell(event: Event) -> None:
            if text := sentence(spec, event):
                context.log.info(text)

        try:
            return train(work, on_event=tell, say=context.log.info)
        except CancelledError as error:
            raise dg.Failure(f"{STOPPED}: {error}", allow_retries=False) from error
        except EngineError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    def _places(self, spec: RunSpec) -> tuple[AnyPath, Path]:
        """A run's directory as all machines see it, and the one on this machine."""
        mirror = self.locations.runs_dir / spec.run_id
        if is_folder_path(self.locations.work_dir):
            return mirror, mirror
        # A bucket has the same folders as the work directory that stands in for it here.
        return self.locations.work_dir / self.locations.runs_dir.name / spec.run_id, mirror
