"""Waiting for a slot of a pool: said, with its holder, at no cost, and over as soon as somebody interrupts.

Dagster's own wait within a run asks its storage without a pause, says nothing to who started the run, and hears no
signal. So each run of the lane claims its slot here first; Dagster's executor then finds it claimed.
"""

import time
from collections.abc import Callable

import dagster as dg
import tenacity
from sqlalchemy.exc import SQLAlchemyError

from laneb_assets.dagster_internals import EventLogStorage, PoolGranularity
from laneb_assets.runs.alive import is_alive
from laneb_assets.runs.dead import end_if_dead, free_slots, what_of

LOOK_SECONDS = 0.5


def wait_for_slot(
    instance: dg.DagsterInstance,
    run_id: str,
    step: str,
    pool: str,
    say: Callable[[str], None],
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Claim a slot of a pool for a step of a run; an interrupt gives the place in the queue back.

    Dagster frees the slot at the step's end.

    Args:
        instance: whose pools they are.
        run_id: the run, which `alive.hold` shows to be alive.
        step: the step's key.
        pool: the pool's name.
        say: gets a sentence with the holders, whenever these change while it waits.
        should_stop: whether to stop as by an interrupt; a signal may come where Python drops what it raises.

    Raises:
        KeyboardInterrupt: `should_stop` said so.
    """
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits or not _is_limited(storage, pool):
        return
    claimed, said = False, ""
    try:
        while not storage.claim_concurrency_slot(pool, run_id, step).is_claimed:
            _heed(should_stop)
            sentence = f"waiting for a slot of the pool {pool!r}{_held_by(instance, pool, run_id)}"
            if sentence != said:
                say(sentence)
                said = sentence
            time.sleep(LOOK_SECONDS)
        _heed(should_stop)
        claimed = True
    finally:
        if not claimed:
            storage.free_concurrency_slot_for_step(run_id, step)


def _heed(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise KeyboardInterrupt


# Two runs that ask first at the same moment both insert the pool's row, which a database lets only one of them do.
@tenacity.retry(
    retry=tenacity.retry_if_exception_type(SQLAlchemyError),
    wait=tenacity.wait_random(0.05, 0.5),
    stop=tenacity.stop_after_attempt(5),
    reraise=True,
)
def _is_limited(storage: EventLogStorage, pool: str) -> bool:
    """Whether runs claim slots of the pool; one that nobody gave a limit gets the instance's on the way."""
    config = storage.get_pool_config()
    if config.pool_granularity == PoolGranularity.RUN:
        return False
    limit = next((limit for limit in storage.get_pool_limits() if limit.name == pool), None)
    default = config.default_pool_limit
    if default is not None and (limit is None or (limit.from_default and limit.limit != default)):
        return bool(storage.initialize_concurrency_limit_to_default(pool))
    return limit is not None


def _held_by(instance: dg.DagsterInstance, pool: str, waiting: str) -> str:
    """Who holds the pool's slots, in words; the slots of runs that have ended or died are freed on the way."""
    info, holders = instance.event_log_storage.get_concurrency_info(pool), list[str]()
    if info.slot_count == 0:
        return ", which has none: raise its limit in the UI (Deployment, Concurrency)"
    for slot in info.claimed_slots:
        run = instance.get_run_by_id(slot.run_id)
        if slot.run_id == waiting:
            continue
        if run is None and is_alive(instance, slot.run_id):
            holders.append(f"run {slot.run_id[:8]}, which is about to start")
        elif run is None or run.is_finished or end_if_dead(instance, run):
            free_slots(instance, slot.run_id)
        else:
            holders.append(what_of(run))
    return f", held by {' and '.join(sorted(holders))}" if holders else ""
