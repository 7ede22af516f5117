"""Training a run with a nanochat checkout: its script started, its log kept and read, the same result made of it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laneb.corpus.checkout import Checkout, CheckoutError, find_checkout
from laneb.corpus.checkout_data import HASH_CACHE, read_checkout_data
from laneb.corpus.checkout_tokenizer import CheckoutTokenizer
from laneb.records.base import utc_now
from laneb.records.runs import RunResult
from laneb.training.checkout_files import Checkpoints, added_since, own_base_dir
from laneb.training.checkout_flags import read_flags
from laneb.training.checkout_headers import check_headers
from laneb.training.interruption import StopRequest
from laneb.training.log import parse_log, run_result_from_log
from laneb.training.logs.grammar import LogLine, TrainLine, ValidationLine, as_number
from laneb.training.logs.reader import LogReader
from laneb.training.nanochat import NanochatCommand, nanochat_command
from laneb.training.pipes import said_to_dagster
from laneb.training.run_directory import EVENTS, LOG, held, prepare_held, told_by, unwritable, write_result
from laneb.training.trackers import Trackers, trackers_of

if TYPE_CHECKING:
    from laneb.training.spec import RunSpec

POLL_SECONDS = 0.5
GRACE_SECONDS = 30.0


def train(spec: RunSpec, run_dir: Path, stop: StopRequest) -> None:
    """Do what is left of a run."""
    with held(run_dir), said_to_dagster(stop) as say:
        if prepare_held(run_dir, spec) != "done":
            train_in_checkout(spec, run_dir, stop, say)


def train_in_checkout(
    spec: RunSpec, run_dir: Path, stop: StopRequest, say: Callable[[str], None] = lambda sentence: None
) -> RunResult:
    """Train a run with the script of its nanochat checkout, in a directory that is ready for it.

    Goes on from the checkpoint that the script left in the run's own base directory, if there is one. Writes
    `train.log`, `events.jsonl` and `result.json`, and repeats the log on standard output.

    Args:
        spec: the run; its `nanochat_dir` and `nanochat_python` say which checkout.
        run_dir: its directory.
        stop: whether it was told to stop.
        say: gets a sentence at the start, at each evaluation and at the end.

    Raises:
        CheckoutError: the checkout can't do it (before anything is trained), or its script failed.
        Interrupted: told to stop. The script has no way to keep a checkpoint then, so its last one is where it goes on.
    """
    started = time.monotonic()
    checkout = find_checkout(spec.nanochat_dir, spec.nanochat_python)
    if spec.nanochat_code and checkout.code_fingerprint != spec.nanochat_code:
        raise CheckoutError(
            f"{spec.run_id}: the code of the checkout at {checkout.directory} was changed since the run was asked for. "
            "Materialize it again, to train it anew with the code that is there now"
        )
    own, shared = _base_directories(spec, run_dir, checkout, say)
    tag = f"laneb_{spec.fingerprint}"
    # A version without model tags names its checkpoints by depth; in a base directory of its own they are the run's.
    checkpoints = Checkpoints(own or shared, "*" if own else tag, spec.nanochat_world_size)
    resumes = "resume_from_step" in read_flags(checkout).flags
    # Its script tells W&B itself.
    trackers, status = trackers_of(spec, run_dir, but=("wandb",)), ""
    try:
        while True:
            step = checkpoints.latest() if resumes else 0
            command = nanochat_command(spec, model_tag=tag, base_dir=own, resume_from=step)
            attempt = _Attempt(spec, run_dir, command, checkpoints, stop, say, trackers)
            if attempt.run(step):
                break
            say(f"{spec.run_id}: the checkpoint of step {step} can't be read; going back to the one before")
            checkpoints.set_aside(step)
        result = write_result(run_dir, _result(spec, run_dir, command, time.monotonic() - started))
        status = result.status
    finally:
        for sentence in trackers.close(status):
            say(f"{spec.run_id}: {sentence}")
    checkpoints.drop(spec.keep_model)
    say(f"{spec.run_id}: {result.status} at step {result.steps}")
    return result


def _base_directories(
    spec: RunSpec, run_dir: Path, checkout: Checkout, say: Callable[[str], None]
) -> tuple[Path | None, Path]:
    """The run's own base directory, if links can be made, and the checkout's, whose data and tokenizer are the run's.

    Raises:
        CheckoutError: data or tokenizer are not those that the run was asked for with.
    """
    with CheckoutTokenizer(checkout) as tokenizer:
        if tokenizer.vocab_size != spec.vocab_size:
            raise CheckoutError(
                f"LANE_B_VOCAB_SIZE={spec.vocab_size}: nanochat takes its own tokenizer, and that at "
                f"{tokenizer.base_dir} has {tokenizer.vocab_size} tokens. Set LANE_B_VOCAB_SIZE={tokenizer.vocab_size}"
            )
        tokenizer_id, shared, data_dir = tokenizer.tokenizer_id, tokenizer.base_dir, tokenizer.data_dir
    data = read_checkout_data(spec.shards_path)
    if data is None:
        return own_base_dir(shared, run_dir / "nanochat"), shared
    if tokenizer_id != spec.tokenizer_id:
        raise CheckoutError(
            f"{spec.run_id}: the tokenizer at {shared} was changed since the run was asked for. Materialize the "
            "tokenizer, and with it what follows from it"
        )
    added = added_since(data, data_dir, Path(spec.shards_path).parent / HASH_CACHE)
    own = own_base_dir(shared, run_dir / "nanochat", data_dir, data)
    if own is None and added:
        raise CheckoutError(
            f"{spec.run_id}: {len(added)} files came to {data_dir} since the run was asked for, and {run_dir} can't "
            "hold links to the others alone. Materialize token_shards, and with them what follows"
        )
    if added:
        say(f"{spec.run_id}: {len(added)} files came to {data_dir} since; it trains without them")
    return own, shared


class _Attempt:
    """One start of the script."""

    def __init__(
        self, spec: RunSpec, run_dir: Path, command: NanochatCommand, checkpoints: Checkpoints, stop: StopRequest,
        say: Callable[[str], None], trackers: Trackers,
    ) -> None:  # fmt: skip
        self.spec, self.run_dir, self.command, self.stop, self.say = spec, run_dir, command, stop, say
        self.trackers = trackers
        self.checkpoints = checkpoints
        self.reader = LogReader()
        self.checked = False

    def run(self, resume_from: int) -> bool:
        """Run the script to its end; False when it could not even begin from the checkpoint it was given."""
        for note in self.command.notes:
            self.say(note)
        verb = f"goes on from step {resume_from}" if resume_from else "starts"
        self.say(f"{self.spec.run_id}: {verb}, {self.spec.steps} steps in {self.command.checkout.directory}")
        with _appended(self.run_dir / LOG) as log, _appended(self.run_dir / EVENTS) as events:
            # An earlier start may have been killed within a line.
            _keep(log, b"\n" if log.tell() else b"")
            self._begin(resume_from, events)
            process = subprocess.Popen(self.command.arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT)  # fmt: skip
            try:
                for line in self._lines(process, log):
                    found = self.reader.take(line)
                    self._notice(found, events)
            finally:
                end_process(process)
        if process.returncode == 0 or self.reader.run.nan_step is not None or self.reader.complete:
            return True
        if resume_from and self.reader.segments == 0:
            return False
        raise CheckoutError(
            f"{self.spec.run_id}: the training script of {self.command.checkout.directory} ended with exit status "
            f"{process.returncode}; the end of {self.run_dir / LOG} says why. Materialize it again to go on from its "
            "last checkpoint"
        )

    def _begin(self, step: int, events: FileIO) -> None:
        spec, links = self.spec, self.trackers.links
        event = {"event": "resume" if step else "start", "step": step, "steps": spec.steps, "run_id": spec.run_id,
                 "fingerprint": spec.fingerprint, "device": spec.device}  # fmt: skip
        _keep(events, json.dumps(event | ({"trackers": links} if links else {})).encode() + b"\n")
        self._tell(self.trackers.begin(step))

    def _tell(self, sentences: list[str]) -> None:
        for sentence in sentences:
            self.say(f"{self.spec.run_id}: {sentence}")

    def _lines(self, process: subprocess.Popen[bytes], log: FileIO) -> Iterator[bytes]:
        """The script's lines as they come, written to the log and repeated; looks every moment whether to stop."""
        assert process.stdout is not None
        rest = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                self.stop.check()
                if not selector.select(POLL_SECONDS):
                    continue
                block = os.read(process.stdout.fileno(), 1 << 16)
                if not block:
                    break
                _keep(log, block)
                _repeat(block)
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    yield line.rstrip(b"\r")
                if self.reader.run.nan_step is not None:
                    return
        process.wait()
        if rest:
            yield rest

    def _notice(self, line: LogLine | None, events: FileIO) -> None:
        if not isinstance(line, TrainLine | ValidationLine):
            return
        if not self.checked:
            self.checked = True
            self._check_model()
        event: dict[str, Any]
        if isinstance(line, ValidationLine):
            event = {
                "event": "evaluation",
                "step": line.step,
                "bpb": line.bpb,
                "seconds": self.reader.run.time_of(line.step),
            }
            self._tell(self.trackers.log(line.step, {"val/bpb": line.bpb}))
            self.say(f"{self.spec.run_id}: step {line.step} of {self.spec.steps}, validation bpb {line.bpb:.4f}")
        else:
            # The script saves before it trains the step that it prints.
            if line.step % self.spec.checkpoint_every == 0:
                self.checkpoints.prune()
            speed = {} if line.tok_per_sec is None else {"tok_per_sec": as_number(line.tok_per_sec)}
            event = {"event": "step", "step": line.step, "steps": self.spec.steps, "loss": float(line.loss),
                     "seconds": line.total_sec, **speed}  # fmt: skip
            if line.step_ms is not None:
                left = self.spec.steps - line.steps_done
                event["eta_sec"] = round(as_number(line.step_ms) / 1000 * left, 1)
            numbers = {"loss": event["loss"], **speed}
            self._tell(self.trackers.log(line.step, {f"train/{name}": value for name, value in numbers.items()}))
        _keep(events, json.dumps(event).encode() + b"\n")

    def _check_model(self) -> None:
        """Before time goes into it: is this the model, the batch, the horizon and the ratio that were asked for?"""
        try:
            check_headers(self.spec, self.reader.run.headers)
        except CheckoutError as error:
            raise CheckoutError(f"{self.spec.run_id}: {error}") from None


def _appended(path: Path) -> FileIO:
    """A file to write at the end of. Unbuffered: what a full disk refused is not tried again when it is closed."""
    return path.open("ab", buffering=0)


def _keep(file: FileIO, block: bytes) -> None:
    while block:
        try:
            block = block[file.write(block) :]
        except OSError as error:
            raise unwritable(Path(file.name), error) from error


def _repeat(block: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody has to be listening
        sys.stdout.buffer.write(block)
        sys.stdout.buffer.flush()


def end_process(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs: ask, wait, insist."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _result(spec: RunSpec, run_dir: Path, command: NanochatCommand, wall_seconds: float) -> RunResult:
    log = parse_log(run_dir / LOG)
    if log.status in ("failed", "not_evaluated"):
        raise CheckoutError(
            f"{spec.run_id}: the training script ended without its last line, Minimum validation bpb; see "
            f"{run_dir / LOG}. Materialize it again"
        )
    said = {"total_batch_size": log.total_batch_size, "n_scaling_params": log.n_scaling_params}
    counted: dict[str, Any] = {name: count for name, count in said.items() if count}
    return run_result_from_log(
        log,
        **told_by(spec) | counted,
        device=spec.device,
        wall_time_sec=wall_seconds,
        git_commit=command.checkout.commit,
        timestamp_utc=utc_now(),
        log_path=LOG,
    )
