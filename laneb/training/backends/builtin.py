"""Training a run with our own loop, in this process or as one of several that torchrun started."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from laneb.corpus.shards import Shards, open_shards
from laneb.training.interruption import StopRequest
from laneb.training.out_of_memory import is_out_of_memory, out_of_memory
from laneb.training.pipes import said_to_dagster, say_nothing
from laneb.training.run_directory import CHECKPOINTS, held, prepare_held, read_result
from laneb.training.run_log import publish
from laneb.training.trackers import check_trackers, trackers_of

if TYPE_CHECKING:
    from laneb.training.devices import Device
    from laneb.training.spec import RunSpec


def train(spec: RunSpec, run_dir: Path, stop: StopRequest) -> None:
    """Do what is left of a run; under torchrun each process does its part."""
    if read_result(run_dir, spec) is not None:
        return
    # What can't work is said before torch is imported, which takes longer than all of it.
    shards = _shards_of(spec)
    check_trackers(spec.trackers, spec.wandb_run_base)
    from laneb.training.devices import Device

    device = Device(spec, lambda sentence: print(f"{spec.run_id} {sentence}", flush=True), stop.check)
    try:
        with contextlib.ExitStack() as stack:
            done = False
            if device.leads:
                stack.enter_context(held(run_dir))
                done = prepare_held(run_dir, spec) == "done"
            if not device.agree(int(done)):
                say = stack.enter_context(said_to_dagster(stop)) if device.leads else say_nothing
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


def _train_prepared(
    spec: RunSpec, run_dir: Path, shards: Shards, device: Device, stop: StopRequest, say: Callable[[str], None]
) -> None:
    from laneb.training import checkpoint
    from laneb.training.loop import Training
    from laneb.training.reporting import Reporter, Silent

    reporter = Reporter(run_dir, spec, say, trackers_of(spec, run_dir)) if device.leads else Silent(run_dir, spec)
    try:
        result = Training(spec, run_dir, shards, device, reporter, stop).run()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(spec, device.name) from error
    finally:
        reporter.close()
    if device.leads:
        publish(run_dir, spec, result)
        checkpoint.drop(run_dir / CHECKPOINTS)
