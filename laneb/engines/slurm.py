"""Slurm, by its own commands: sbatch, squeue, scancel."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from laneb.engines.engine import EngineError, EngineSilentError, State, ask, said
from laneb.places import is_folder_path

if TYPE_CHECKING:
    from laneb.places import AnyPath

SCRIPT = """#!/bin/bash
# A step, not the batch shell, is told of a time limit or a preemption early enough to keep a checkpoint. It then ends
# with 143 and the job waits for its next turn, unless the batch shell was told to stop too: then a person cancelled it.
trap stopped=1 TERM
srun --kill-on-bad-exit=1 --ntasks-per-node=1 bash -c {step}
code=$?
if [ $code = 143 ] && [ -z "$stopped" ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $code
"""
STEP = (
    'exec {command} --incarnation "$SLURM_JOB_ID.${{SLURM_RESTART_COUNT:-0}}" --nodes "$SLURM_JOB_NUM_NODES" '
    '--rank "$SLURM_NODEID" --master "$SLURM_LAUNCH_NODE_IPADDR:$((20000 + SLURM_JOB_ID % 20000))" --all-are-told'
)
DEFAULTS = ("--requeue", "--open-mode=append", "--signal=TERM@120")
"""Before the person's arguments, of which the last counts."""

QUEUED = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT", "STAGE_OUT"}
)
RUNNING = frozenset({"RUNNING", "COMPLETING", "SIGNALING", "STOPPED", "SUSPENDED", "RESIZING", "PREEMPTED"})


@dataclass(frozen=True)
class Slurm:
    """A Slurm cluster of which this machine has the commands; `arguments` go to sbatch as they are."""

    arguments: tuple[str, ...] = ()

    def submit(self, name: str, command: Sequence[str], output: AnyPath) -> str:
        """Hand a batch script to sbatch."""
        step = shlex.quote(STEP.format(command=shlex.join(command)))
        # Slurm fails a job whose output it can't open, and it opens no bucket.
        log = str(output) if is_folder_path(output) else str(Path(tempfile.gettempdir()) / f"{name}.out")
        options = [f"--job-name={name}", f"--output={log}", *DEFAULTS, *self.arguments]
        done = ask(["sbatch", "--parsable", *options], SCRIPT.format(step=step))
        if done.returncode:
            raise EngineError(
                f"sbatch refused {name}: {said(done)}. Check LANE_B_ENGINE_ARGS={' '.join(self.arguments)}"
            )
        return f"Slurm job {done.stdout.strip().partition(';')[0]}, its output at {log}"

    def state(self, name: str) -> State:
        """By squeue, which remembers a job for some minutes after its end."""
        done = ask(["squeue", "--me", "--noheader", "--states=all", f"--name={name}", "--format=%T"])
        if done.returncode:
            raise EngineSilentError(f"squeue: {said(done)}")
        states = done.stdout.split()
        if any(state in RUNNING for state in states):
            return "running"
        if any(state in QUEUED for state in states):
            return "queued"
        if not states:
            return "absent"
        return "cancelled" if states[-1].startswith("CANCELLED") else "ended"

    def cancel(self, name: str, *, at_once: bool = False) -> None:
        """By scancel; --full tells the batch shell too, so that it does not requeue. No time is set for a checkpoint:
        Slurm's own, KillWait, is often too short to put one into a bucket."""
        mine = ["scancel", "--me", f"--name={name}"]
        answers = [ask([*mine, "--state=PENDING"])]
        answers.append(ask(mine if at_once else [*mine, "--full", "--signal=TERM", "--state=RUNNING"]))
        for answer in answers:
            if answer.returncode and "Unable to contact" in answer.stderr:
                raise EngineSilentError(f"scancel: {said(answer)}")
