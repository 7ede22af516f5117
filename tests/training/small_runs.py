"""Runs of seconds, without the rest of the lane."""

import atexit
import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from forked_python import Forked, ForkedPython

from laneb.knobs import ModelKnobs, TrainingKnobs
from laneb.model.scaling import ModelShape, count_parameters
from laneb.records.corpus import TokenShards
from laneb.records.runs import RunResult
from laneb.training.run_directory import prepare, read_result
from laneb.training.spec import RunSpec, spec_for

VOCABULARY = 300


@dataclass(frozen=True)
class Runs:
    """Where runs of tests lie, and the shards that they train on."""

    folder: Path
    shards: TokenShards

    def spec(self, *, seed: int = 41, steps: int = 12, elsewhere: bool = False, **knobs: object) -> RunSpec:
        """A run of a model of one layer; `knobs` of the model or of training."""
        shape = {"depth": 1, "aspect_ratio": 32, "head_dim": 32, "max_seq_len": 16, "window_pattern": "L"}
        training = {
            "device": "cpu", "threads": 1, "device_batch_size": 4, "total_batch_size": 128, "eval_every": 4,
            "eval_tokens": 256, "checkpoint_every": 3, "embedding_lr": 3.0, "unembedding_lr": 0.1, "matrix_lr": 0.3,
        }  # fmt: skip
        model = ModelKnobs(**shape | {name: knobs[name] for name in knobs if name in ModelKnobs.model_fields})
        rest = TrainingKnobs(**training | {name: knobs[name] for name in knobs if name in TrainingKnobs.model_fields})
        scaling = count_parameters(ModelShape.of(model, self.shards.vocab_size))
        return spec_for(self.shards, scaling, model, rest, seed=seed, steps=steps, elsewhere=elsewhere)

    def prepared(self, spec: RunSpec, name: str = "") -> Path:
        """The directory of a run that is ready to be trained."""
        run_dir = self.folder / (name or spec.run_id)
        prepare(run_dir, spec)
        return run_dir

    def train(self, spec: RunSpec, name: str = "") -> RunResult:
        """Train a run in a process of its own."""
        run_dir = self.prepared(spec, name)
        ended = self.start(run_dir).communicate()
        result = read_result(run_dir, spec)
        assert result is not None, ended
        return result

    def start(self, run_dir: Path, **environment: str) -> Forked:
        """A training process on a directory, forked of one that has imported torch."""
        return training_process(["-m", "laneb.training", str(run_dir / "spec.json")], environment)

    def start_command(self, run_dir: Path, *launcher: str) -> "subprocess.Popen[str]":
        """The command that trains a directory, or that of a launcher (`-m torch.distributed.run ...`)."""
        return subprocess.Popen(
            [sys.executable, *launcher, "-m", "laneb.training", str(run_dir / "spec.json")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@functools.cache
def with_torch() -> ForkedPython:
    """Python with what trains a run imported, once for this test process."""
    made = ForkedPython("laneb.training.backends.builtin", "laneb.training.loop", "laneb.training.reporting")
    atexit.register(made.end)
    return made


def training_process(
    arguments: Sequence[str], environment: Mapping[str, str], largest_file: int | None = None
) -> Forked:
    """Python on arguments, with torch there."""
    return with_torch().start(*arguments, environment={**os.environ, **environment}, largest_file=largest_file)


def write_shards(folder: Path, *, tokens: int = 20_000, seed: int = 3) -> TokenShards:
    """Shards of a text in which each token makes a few others likely."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    following = draw.integers(1, VOCABULARY, size=(VOCABULARY, 4))
    counts = {}
    for split, size in (("train", tokens), ("val", 2_000)):
        stream = np.empty(size, dtype="<u2")
        choices = draw.integers(0, 4, size=size)
        token = 1
        for place in range(size):
            token = 0 if place % 100 == 0 else int(following[token, choices[place]])
            stream[place] = token
        stream.tofile(folder / f"{split}.bin")
        np.save(folder / f"{split}_starts.npy", np.flatnonzero(stream == 0))
        counts[split] = size
    token_bytes = np.full(VOCABULARY, 2, dtype=np.int32)
    token_bytes[0] = 0
    np.save(folder / "token_bytes.npy", token_bytes)
    info = TokenShards(
        timestamp_utc="2026-01-01T00:00:00Z", dataset_id="made", tokenizer_id="made", corpus_fingerprint=f"made-{seed}",
        path=str(folder), train_documents=counts["train"] // 100, train_tokens=counts["train"],
        train_bytes=2 * counts["train"], val_documents=counts["val"] // 100, val_tokens=counts["val"],
        val_bytes=2 * counts["val"], vocab_size=VOCABULARY, bos_id=0,
    )  # fmt: skip
    (folder / "meta.json").write_text(json.dumps({**info.model_dump(), "dtype": "uint16"}), encoding="utf-8")
    return info
