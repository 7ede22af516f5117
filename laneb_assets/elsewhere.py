"""Training a run on Slurm, Ray or by a command, or here with files in a bucket, with Dagster told how it goes."""

import dagster as dg

from laneb.engines import CancelledError, EngineError, Event, Work, sentence, train
from laneb.knobs import EngineKnobs, TrainingKnobs
from laneb.places import Locations, is_folder_path
from laneb.records.runs import RunResult
from laneb.training.spec import RunSpec

STOPPED = "stopped while training"
"""How the failure of a run begins that was told to stop, by Ctrl-C or from the UI."""


def train_elsewhere(
    context: dg.AssetExecutionContext,
    spec: RunSpec,
    *,
    locations: Locations,
    engine: EngineKnobs,
    training: TrainingKnobs,
) -> RunResult:
    """The finished run of `spec`: trained, resumed, or read when it was trained before, here or by another machine.

    Raises:
        dg.Failure: it was cancelled, or failed; says why.
    """
    mirror = locations.runs_dir / spec.run_id
    # A bucket has the same folders as the work directory that stands in for it here.
    local = is_folder_path(locations.work_dir)
    run = mirror if local else locations.work_dir / locations.runs_dir.name / spec.run_id
    work = Work(spec, run, mirror, training, engine, context.asset_key.path[-1].removesuffix("_runs"))

    def tell(event: Event) -> None:
        if text := sentence(spec, event):
            context.log.info(text)

    try:
        return train(work, on_event=tell, say=context.log.info)
    except CancelledError as error:
        raise dg.Failure(f"{STOPPED}: {error}", allow_retries=False) from error
    except EngineError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
