"""What the coordinator leaves in a run's directory for the node, and for a coordinator that comes after it; and what
the node leaves when it ends without a result."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from laneb.storage import shared

if TYPE_CHECKING:
    from laneb.places import AnyPath

JOB, ENDED, OUTPUT = "job.json", "ended.json", "output.txt"


@dataclass(frozen=True)
class Job:
    """One submission of a run.

    Attributes:
        name: identity on the engine: run, fingerprint and attempt.
        fingerprint: the run's.
        attempt: submissions of the run so far, with this one.
        fruitless: how many of the latest ones, before this one, brought no new checkpoint.
        step: the latest published checkpoint's when it was submitted; 0 for none.
        engine: the engine's name in the settings.
        shards: where the run's token shards lie for a node: a folder or a bucket.
        scratch: the node's folder for files of a run; empty: its folder for temporary files.
        lease_seconds: silence after which the node's lease can be taken over.
        launcher, launcher_args: how training starts on a node.
        where: for people, what the engine calls it; empty until it was submitted.
    """

    name: str
    fingerprint: str
    attempt: int
    fruitless: int
    step: int
    engine: str
    shards: str
    scratch: str
    lease_seconds: float
    launcher: str
    launcher_args: str
    where: str = ""


@dataclass(frozen=True)
class Ended:
    """How a job ended that left no result.

    Attributes:
        name: the job's.
        code: exit status of the training process; 143 or 130: it was told to stop.
        message: what can't be mended by another start; empty where another start is the remedy.
    """

    name: str
    code: int
    message: str = ""


def write(run: AnyPath, record: Job | Ended) -> None:
    """Keep a record in a run's directory, in place of the one before."""
    name = JOB if isinstance(record, Job) else ENDED
    shared.replace(run / name, (json.dumps(asdict(record), indent=2, sort_keys=True) + "\n").encode())


def read_job(run: AnyPath) -> Job | None:
    """The latest submission, or None where there was none."""
    data = shared.read_or_none(run / JOB)
    try:
        return None if data is None else Job(**json.loads(data))
    except (ValueError, TypeError):
        return None


def read_ended(run: AnyPath, name: str) -> Ended | None:
    """How the job `name` ended, or None where it left no word."""
    data = shared.read_or_none(run / ENDED)
    try:
        ended = None if data is None else Ended(**json.loads(data))
    except (ValueError, TypeError):
        return None
    return ended if ended is not None and ended.name == name else None
