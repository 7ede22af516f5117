"""A run's directory: whose it is, how far it got, and who is writing in it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from filelock import FileLock, Timeout
from pydantic import ValidationError

from laneb.records.base import DamagedError, sealed_json, unsealed_json
from laneb.records.runs import RunResult
from laneb.storage.atomic import is_full, remedy, why_unwritable, write_text
from laneb.storage.checksums import file_checksum
from laneb.training.spec import RunSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

SPEC, RESULT, LOG, EVENTS, CHECKPOINTS = "spec.json", "result.json", "train.log", "events.jsonl", "checkpoint"
WEIGHTS = "model.pt"
"""A finished run's weights, under nanochat's names, where they are kept."""

_PROBE_BYTES = 1 << 16

HELD_BY_ANOTHER = 75
"""Exit status of a training process that found another one at work on its run: EX_TEMPFAIL."""

State = Literal["done", "resume", "fresh"]


class RunHeldError(ValueError):
    """Another process is training in the directory."""


def prepare(run_dir: Path, spec: RunSpec) -> State:
    """Make a directory ready for a spec and say how far the run is.

    A directory that holds another fingerprint is renamed to `<name>.<its fingerprint>`, never overwritten; one of
    the wanted fingerprint that was set aside earlier comes back in its place. The result of an earlier attempt than the
    wanted one goes to `<name>.<fingerprint>.attempt-<number>`, with all that belongs to it.

    Returns:
        "done": a result is there; "resume": a checkpoint is; "fresh": neither.

    Raises:
        RunHeldError: another process is training there.
        StorageError: the place can't be written.
    """
    with held(run_dir):
        return prepare_held(run_dir, spec)


def prepare_held(run_dir: Path, spec: RunSpec) -> State:
    """`prepare` for the process that holds the directory."""
    present = _fingerprint(run_dir)
    if present not in (None, spec.fingerprint):
        run_dir.rename(_free_name(run_dir.with_name(f"{run_dir.name}.{present}")))
        present = None
    kept = run_dir.with_name(f"{run_dir.name}.{spec.fingerprint}")
    if present is None and _fingerprint(kept) == spec.fingerprint and not run_dir.exists():
        kept.rename(run_dir)
    earlier = _stored_result(run_dir)
    if earlier is not None and earlier.attempt < spec.attempt:
        run_dir.rename(_free_name(run_dir.with_name(attempt_name(run_dir.name, earlier))))
    spec = spec.model_copy(update={"attempt": max(spec.attempt, _attempt(run_dir))})
    done = read_result(run_dir, spec) is not None
    if not _holds(run_dir / SPEC, spec):
        write_text(run_dir / SPEC, _spec_text(run_dir, spec))
    if done:
        return "done"
    checkpoints = run_dir / CHECKPOINTS
    return "resume" if checkpoints.is_dir() and any(checkpoints.glob("step_*.pt")) else "fresh"


def attempt_name(run_id: str, result: RunResult) -> str:
    """Name of the directory that a result's attempt is set aside to."""
    return f"{run_id}.{result.fingerprint}.attempt-{result.attempt}"


def trained_spec(runs_dir: Path, run: RunResult) -> RunSpec | None:
    """The spec that a run was trained by, from its directory or the one that it was set aside to; None: not there."""
    for directory in (runs_dir / run.run_id, runs_dir / f"{run.run_id}.{run.fingerprint}"):
        with contextlib.suppress(ValueError):
            spec = read_spec(directory / SPEC)
            if spec.fingerprint == run.fingerprint:
                return spec
    return None


def read_spec(path: Path) -> RunSpec:
    """The spec in a file, whose shards are found from the file's folder.

    Raises:
        ValueError: not there, or not a run's spec.
    """
    try:
        data = unsealed_json(path.read_text(encoding="utf-8"))
        spec = RunSpec.model_validate_json(json.dumps(data))
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise ValueError(f"{path} is not a run's spec: {field}: {first['msg']}") from error
    except (DamagedError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a run's spec: {error}. `laneb run` writes it again") from error
    # The base directory may have been copied or moved since.
    shards = os.path.normpath(path.parent.absolute() / spec.shards_path)
    return spec.model_copy(update={"shards_path": shards})


def _spec_text(run_dir: Path, spec: RunSpec) -> str:
    """The text of a run's spec.json: with its checksum, and the shards as they lie from its folder."""
    data = spec.model_dump(mode="json")
    with contextlib.suppress(ValueError):  # another drive
        data["shards_path"] = os.path.relpath(spec.shards_path, run_dir.absolute())
    return sealed_json(data)


def read_result(run_dir: Path, spec: RunSpec) -> RunResult | None:
    """The result of a spec's run, or None while there is none that is whole, or only one of an earlier attempt."""
    result = _stored_result(run_dir)
    if result is None or result.fingerprint != spec.fingerprint or result.attempt < spec.attempt:
        return None
    return result


def _stored_result(run_dir: Path) -> RunResult | None:
    try:
        return RunResult.from_json((run_dir / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_result(run_dir: Path, result: RunResult) -> RunResult:
    """Say that a run is done: its log is forced to the disk first, and the result carries the log's checksum.

    Raises:
        StorageError: the disk is full or the directory is not writable.
    """
    log = run_dir / LOG
    try:
        with log.open("rb+") as file:
            os.fsync(file.fileno())
        checksum = file_checksum(log)
    except OSError as error:
        raise unwritable(log, error) from error
    whole = result.model_copy(update={"log_path": LOG, "log_checksum": checksum, "attempt": _attempt(run_dir)})
    write_text(run_dir / RESULT, whole.to_json())
    return whole


def told_by(spec: RunSpec) -> dict[str, Any]:
    """What the result of a run repeats of its spec."""
    same = ("run_id", "fingerprint", "recipe", "backend", "seed", "depth", "max_seq_len", "device_batch_size",
            "total_batch_size", "n_scaling_params", "warmdown_ratio")  # fmt: skip
    return {name: getattr(spec, name) for name in same}


def unwritable(path: Path, error: OSError) -> ValueError:
    """What to say when a run's log or events can't be written."""
    return ValueError(
        f"{path} can't be written: {error.strerror or error}. {remedy(error)} and start the run again: it goes on "
        "from its last checkpoint"
    )


def unwritable_now(run_dir: Path) -> str | None:
    """What to say of a directory that a little can't be written to, as a disk that a run has filled; None: it can."""
    error = why_unwritable(run_dir, _PROBE_BYTES)
    return None if error is None else str(unwritable(run_dir, error))


def reason_of(error: ValueError | OSError, run_dir: Path | None) -> str:
    """What to say of an error that ends a run; where a disk is full and the error does not say which, the one found."""
    if run_dir is None or not isinstance(error, OSError) or error.filename or not is_full(error):
        return str(error)
    # What is told to Dagster goes through a temporary file; where that folder is full, Python names another one.
    temporary = Path(os.environ.get("TMPDIR") or tempfile.gettempdir())
    full = next((place for place in (run_dir, temporary) if why_unwritable(place, _PROBE_BYTES)), temporary)
    return str(unwritable(full, error))


def events_size(run_dir: Path) -> int:
    """Bytes of events so far."""
    try:
        return (run_dir / EVENTS).stat().st_size
    except OSError:
        return 0


def note_failure(run_dir: Path, message: str, *, passing: bool = False) -> None:
    """Keep with a run's events why it can't go on, where a place can still be written.

    Args:
        run_dir: its directory.
        message: why.
        passing: another start is the remedy, with nothing changed.
    """
    # When and by whom, so that the same failure of a later start is another line.
    said = {"event": "error", "message": message, "passing": passing, "at": time.time(), "process": os.getpid()}
    with contextlib.suppress(OSError), (run_dir / EVENTS).open("a", encoding="utf-8") as events:
        events.write(json.dumps(said) + "\n")


def failures_noted(run_dir: Path) -> list[str]:
    """The failures noted with a run's events, in their order; a later start that begins anew drops them."""
    try:
        lines = (run_dir / EVENTS).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.startswith('{"event": "error"')]


def failure_since(run_dir: Path, known: Collection[str], *, lasting: bool = False) -> str | None:
    """The first failure noted that is not among those `known` before, or None where none was; with `lasting`, of those
    alone that another start would not mend."""
    for line in failures_noted(run_dir):
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if line not in known and not (lasting and event.get("passing")):
                return str(event.get("message"))
    return None


@contextlib.contextmanager
def held(run_dir: Path) -> Iterator[None]:
    """Hold a run's directory: one process at a time, and the lock dies with its holder.

    Raises:
        RunHeldError: another process holds it.
        ValueError: the place can't be written.
    """
    lock_path, holder_path = (run_dir.with_name(f".{run_dir.name}.{end}") for end in ("lock", "holder"))
    try:
        run_dir.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_path, timeout=0)
        lock.acquire()
    except Timeout:
        raise RunHeldError(f"{run_dir} is being trained by {_holder(holder_path)}") from None
    except OSError as error:
        raise ValueError(f"{run_dir} can't be written: {error.strerror or error}") from error
    try:
        with contextlib.suppress(OSError):
            holder_path.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}), encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder_path.unlink()
        lock.release()


def _holds(path: Path, spec: RunSpec) -> bool:
    try:
        return read_spec(path).to_json() == spec.to_json()
    except ValueError:
        return False


def _attempt(run_dir: Path) -> int:
    """Which attempt the directory's run is, by its spec."""
    try:
        return read_spec(run_dir / SPEC).attempt
    except ValueError:
        return 1


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['pid']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _fingerprint(run_dir: Path) -> str | None:
    """Fingerprint of the spec in a directory; None where there is no directory, or nothing in it to keep."""
    if not run_dir.is_dir() or not any(run_dir.iterdir()):
        return None
    try:
        return read_spec(run_dir / SPEC).fingerprint
    except ValueError:
        result = _stored_result(run_dir)
        return "unknown" if result is None else result.fingerprint


def _free_name(path: Path) -> Path:
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate
