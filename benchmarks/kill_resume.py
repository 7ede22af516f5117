"""Kill the training runs of a lane at random moments, restart them each time, and compare with runs left alone.

Every baseline and calibration run of the profile is trained twice: once undisturbed, once killed with SIGKILL after a
random wait and started again until it ends. What no clock has a say in (the result's facts, each step and loss of the
log, each evaluation) has to be the same, byte for byte.

    python benchmarks/kill_resume.py [--profile tiny] [--kills 30] [--seed 1]
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from laneb.corpus.documents import open_corpus
from laneb.corpus.shards import build_shards
from laneb.corpus.tokenizer import train_tokenizer
from laneb.records.corpus import TokenShards
from laneb.records.runs import RunResult
from laneb.settings import Settings, load_settings
from laneb.training.run_directory import LOG, SPEC, prepare, read_result
from laneb.training.spec import RunSpec, lane_spec


def make_shards(settings: Settings, folder: Path) -> TokenShards:
    """The profile's tokens."""
    data = settings.data
    corpus = open_corpus(data.corpus, text_column=data.text_column, max_bytes=data.max_bytes)
    tokenizer = train_tokenizer(
        corpus.documents(),
        data.vocab_size,
        max_bytes=data.tokenizer_bytes,
        directory=folder / "tokenizer",
        dataset_id="benchmark",
    )
    return build_shards(corpus, tokenizer, folder / "shards", validation_share=data.validation_share)


def make_specs(settings: Settings, shards: TokenShards) -> list[RunSpec]:
    """Baselines and calibration runs, each once."""
    wanted = [(settings.baseline.num_iterations, seed) for seed in settings.baseline.seeds]
    wanted += [(steps, seed) for steps in settings.calibration.iterations for seed in settings.calibration.all_seeds]
    specs = [lane_spec(shards, settings.model, settings.training, seed=seed, steps=steps) for steps, seed in wanted]
    return list({spec.fingerprint: spec for spec in specs}.values())


def start(run_dir: Path) -> subprocess.Popen[bytes]:
    """A training process."""
    command = [sys.executable, "-m", "laneb.training", str(run_dir / SPEC)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def train(spec: RunSpec, run_dir: Path, waits: list[float]) -> float:
    """Train to the end, killing the process after each of `waits` seconds; gives the seconds of the last start."""
    prepare(run_dir, spec)
    for wait in waits:
        process = start(run_dir)
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    began = time.perf_counter()
    status = start(run_dir).wait()
    assert status == 0, f"{spec.run_id} ended with status {status}"
    return time.perf_counter() - began


def facts(result: RunResult) -> str:
    """What a result says that no clock has a say in."""
    said = result.model_dump(mode="json", exclude=set(result.volatile))
    return json.dumps(said | {"val_curve": [(point.step, point.bpb) for point in result.val_curve]}, sort_keys=True)


def steps_of(run_dir: Path) -> list[str]:
    """Each update's step and loss, and each evaluation, in the order of the log."""
    lines = (run_dir / LOG).read_text(encoding="utf-8").splitlines()
    return ["|".join(line.split("|")[:2]) for line in lines if line.lower().startswith("step")]


def main() -> int:
    """Compare; exit status 1 when anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--profile", default="tiny")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    arguments = parser.parse_args()
    settings, draw = load_settings(arguments.profile), random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        specs = make_specs(settings, make_shards(settings, folder))
        shares = [arguments.kills // len(specs) + (i < arguments.kills % len(specs)) for i in range(len(specs))]
        differing = 0
        for spec, kills in zip(specs, shares, strict=True):
            alone, killed = folder / "alone" / spec.run_id, folder / "killed" / spec.run_id
            took = train(spec, alone, [])
            train(spec, killed, [draw.uniform(0.0, took) for _ in range(kills)])
            results = [read_result(run_dir, spec) for run_dir in (alone, killed)]
            assert results[0] is not None and results[1] is not None
            same = facts(results[0]) == facts(results[1]) and steps_of(alone) == steps_of(killed)
            differing += not same
            resumed = (killed / LOG).read_text(encoding="utf-8").count("Resuming optimization")
            bpb = results[1].final_val_bpb
            print(
                f"{spec.run_id}: {kills} kills, {resumed} resumed stretches in the log, final bpb {bpb:.6f}: "
                f"{'the same' if same else 'DIFFERENT'}",
                flush=True,
            )
        print(f"{sum(shares)} kills over {len(specs)} runs, {differing} run(s) differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
