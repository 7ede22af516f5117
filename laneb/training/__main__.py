"""`python -m laneb.training RUN_DIR/spec.json`: train the run that a spec describes, in the spec's directory.

Exit status: 0, the run has a result; 1, it failed, and standard error says why; 2, no spec given; 75, another process
is training it; 130 and 143, stopped by SIGINT or SIGTERM, with a checkpoint to go on from.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from laneb.corpus.shards import Shards, open_shards
from laneb.storage.atomic import write_text
from laneb.training.interruption import Interrupted, StopRequest
from laneb.training.run_directory import (
    HELD_BY_ANOTHER,
    LOG,
    RESULT,
    RunHeldError,
    held,
    note_failure,
    prepare_held,
    read_result,
    read_spec,
)
from laneb.training.tracking import check_tracking, tracker_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneb.training.devices import Device
    from laneb.training.spec import RunSpec


def main(arguments: list[str]) -> int:
    """Train; gives the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m laneb.training RUN_DIR/spec.json", file=sys.stderr)
        return 2
    stop = StopRequest()
    stop.listen()
    run_dir: Path | None = None
    try:
        spec_path = Path(arguments[0]).resolve()
        spec, run_dir = read_spec(spec_path), spec_path.parent
        _train(spec, run_dir, stop)
        return 0
    except Interrupted as interruption:
        print(f"{arguments[0]}: {interruption}", file=sys.stderr)
        return 128 + interruption.signal_number
    except RunHeldError as error:
        print(f"error: {error}: wait until it ends, or stop it", file=sys.stderr)
        return HELD_BY_ANOTHER
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        if run_dir is not None:
            note_failure(run_dir, str(error))
        return 1


def _train(spec: RunSpec, run_dir: Path, stop: StopRequest) -> None:
    """Do what is left of a run; under torchrun each process does its part."""
    if spec.backend == "nanochat":
        _train_in_checkout(spec, run_dir, stop)
        return
    if read_result(run_dir, spec) is not None:
        return
    # What can't work is said before torch is imported, which takes longer than all of it.
    shards = _shards_of(spec)
    check_tracking(spec.wandb_run_base)
    from laneb.training.devices import Device

    device = Device(spec)
    try:
        with contextlib.ExitStack() as stack:
            done = False
            if device.leads:
                stack.enter_context(held(run_dir))
                done = prepare_held(run_dir, spec) == "done"
            if not device.agree(int(done)):
                say = stack.enter_context(_dagster(stop)) if device.leads else _say_nothing
                _train_prepared(spec, run_dir, shards, device, stop, say)
    finally:
        device.close()


def _shards_of(spec: RunSpec) -> Shards:
    shards = open_shards(spec.shards_path)
    if shards.info.corpus_fingerprint != spec.corpus_fingerprint:
        raise ValueError(
            f"the token shards at {spec.shards_path} are not those of the run (fingerprint "
            f"{shards.info.corpus_fingerprint}, wanted {spec.corpus_fingerprint}): materialize token_shards again"
        )
    return shards


def _train_in_checkout(spec: RunSpec, run_dir: Path, stop: StopRequest) -> None:
    from laneb.training.backends import train_in_checkout

    with held(run_dir), _dagster(stop) as say:
        if prepare_held(run_dir, spec) != "done":
            train_in_checkout(spec, run_dir, stop, say)


def _train_prepared(
    spec: RunSpec, run_dir: Path, shards: Shards, device: Device, stop: StopRequest, say: Callable[[str], None]
) -> None:
    from laneb.training.loop import Training
    from laneb.training.reporting import Reporter, Silent

    reporter = Reporter(run_dir, spec, say, tracker_for(spec, run_dir)) if device.leads else Silent(run_dir, spec)
    try:
        result = Training(spec, run_dir, shards, device, reporter, stop).run()
    finally:
        reporter.close()
    if device.leads:
        write_text(run_dir / RESULT, result.model_copy(update={"log_path": str(run_dir / LOG)}).to_json())


@contextlib.contextmanager
def _dagster(stop: StopRequest) -> Iterator[Callable[[str], None]]:
    """How to say a sentence to Dagster, where Dagster started this process; else one that nobody hears."""
    import dagster_pipes

    from_environment: Callable[[], dagster_pipes.PipesParamsLoader] = dagster_pipes.PipesEnvVarParamsLoader
    if not from_environment().is_dagster_pipes_process():
        yield _say_nothing
        return
    stop.watch(os.getppid())
    with dagster_pipes.open_dagster_pipes() as pipes:
        yield pipes.log.info


def _say_nothing(sentence: str) -> None:
    pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
